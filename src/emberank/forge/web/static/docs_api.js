// Starts the API viewer on our own document. What is typed under Authorize stays in this page: nothing is kept, and nothing is asked of another server.

const place = document.getElementById("docs-api");
const dark = matchMedia("(prefers-color-scheme: dark)");

// The viewer has a dark theme of its own, by a class; ours is a choice, or else the system's.
function follow() {
  const { theme } = document.documentElement.dataset;
  document.documentElement.classList.toggle("dark-mode", theme ? theme === "dark" : dark.matches);
}

follow();
dark.addEventListener("change", follow);
new MutationObserver(follow).observe(document.documentElement, { attributeFilter: ["data-theme"] });

// Our one-line summaries name things between backquotes, which the viewer would show as they are.
function plain(document) {
  for (const operations of Object.values(document.paths ?? {})) {
    for (const operation of Object.values(operations)) if (operation.summary) operation.summary = operation.summary.replaceAll("`", "");
  }
  return document;
}

// Two parts drawn otherwise. A link inside the button that opens an operation cannot be told from it by keyboard: the name is words, and opening changes the address
// as before. And what the document is called stands at the head of the page already.
const ours = (system) => ({
  wrapComponents: {
    DeepLink: () => ({ text }) => system.React.createElement("span", null, text),
    InfoContainer: () => () => null,
  },
  statePlugins: { spec: { wrapActions: { updateJsonSpec: (go) => (document) => go(plain(structuredClone(document))) } } },
});

if (window.SwaggerUIBundle) {
  window.SwaggerUIBundle({
    domNode: place,
    url: place.dataset.document,
    deepLinking: true,
    displayRequestDuration: true,
    docExpansion: "list",
    filter: true,
    defaultModelsExpandDepth: 0,
    persistAuthorization: false,
    plugins: [ours],
    queryConfigEnabled: false,
    syntaxHighlight: { activated: true },
    tryItOutEnabled: true,
    validatorUrl: null,
  });
} else {
  place.textContent = "The viewer could not be loaded. All routes can be read at /docs/routes.";
}
