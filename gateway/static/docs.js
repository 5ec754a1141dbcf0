"use strict";

SwaggerUIBundle({
  url: "/openapi.yaml",
  dom_id: "#docs",
  deepLinking: true,
  docExpansion: "list",
  defaultModelsExpandDepth: 0,
  filter: true,
  // Tokens are kept nowhere but in this page.
  persistAuthorization: false,
  validatorUrl: null,
});
