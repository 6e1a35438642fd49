/** The library that draws charts, loaded when the first chart is to be drawn. */

const ADDRESS = "assets/vega.js";

let loading = null;

/** The function that embeds a chart; after a failure the next call tries again. */
export function loadedLibrary() {
  loading ??= load().catch((error) => {
    loading = null;
    throw error;
  });
  return loading;
}

function load() {
  return new Promise((resolve, reject) => {
    const script = document.createElement("script");
    script.src = ADDRESS;
    script.addEventListener("load", () => resolve(window.vegaEmbed));
    script.addEventListener("error", () => {
      script.remove();
      reject(new Error("The library that draws charts cannot be loaded."));
    });
    document.head.append(script);
  });
}
