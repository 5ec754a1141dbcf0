"""Live data of many instruments in one stream: channels, each fed by a topic of the journal, merged into messages."""
