"use strict";

// Swagger UI prints an SVG answer as text; the operations desk wants the picture. As an <img> it cannot run scripts.
const svgAnswersAsPictures = (system) => {
  const { createElement } = system.React;
  const picture = (svg) =>
    createElement(
      "div",
      { className: "svg-answer" },
      createElement("h5", null, "Response body"),
      createElement("img", { alt: "chart", src: "data:image/svg+xml;charset=utf-8," + encodeURIComponent(svg) })
    );
  return {
    wrapComponents: {
      responseBody: (Original) => (props) =>
        /^image\/svg\+xml/i.test(props.contentType) && typeof props.content === "string"
          ? picture(props.content)
          : createElement(Original, props),
    },
  };
};

SwaggerUIBundle({
  url: "openapi.json",
  dom_id: "#swagger-ui",
  plugins: [svgAnswersAsPictures],
  validatorUrl: null,
  deepLinking: true,
  docExpansion: "list",
  filter: true,
  tryItOutEnabled: true,
  persistAuthorization: true,
  displayRequestDuration: true,
  defaultModelsExpandDepth: 0,
  showCommonExtensions: true,
});
