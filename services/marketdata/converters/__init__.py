"""Between protobuf and the domain, one module for each subject."""
