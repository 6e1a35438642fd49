/** A chart, drawn by Vega in the colours of the page, and as a picture to take away. */

import { element } from "./dom.js";
import { loadedLibrary } from "./library.js";

const DARK = matchMedia("(prefers-color-scheme: dark)");
const FONT = "system-ui, sans-serif";
const WIDTH_ON_PAPER = 640;
const INK = { text: "#1c2733", quiet: "#4c5a69", line: "#d7dde4" };
const CHALK = { text: "#e8edf3", quiet: "#b3bfcc", line: "#33404e" };

export class Chart {
  #spec;
  #signal;
  #place = element("div", { class: "chart", id: "chart" });
  #view = null;

  /** `spec` is a Vega-Lite specification with its data; the chart ends with `signal`. */
  constructor(spec, signal) {
    this.#spec = spec;
    this.#signal = signal;
    this.node = element("figure", {}, this.#place);
  }

  /** Draws, and draws again when the page's colours change. */
  async draw() {
    await this.#drawn();
    const options = { signal: this.#signal };
    DARK.addEventListener("change", () => this.#drawn(), options);
    this.#signal.addEventListener("abort", () => this.#end(), { once: true });
  }

  async #drawn() {
    const { view } = await embedded(this.#place, this.#spec, DARK.matches ? CHALK : INK);
    this.#end();
    this.#view = view;
    window.sportiv.view = view;
    if (this.#signal.aborted) this.#end();
  }

  #end() {
    this.#view?.finalize();
    if (window.sportiv.view === this.#view) window.sportiv.view = null;
    this.#view = null;
  }

  /** The chart as the text of an SVG file, dark on white. */
  async asSvg() {
    return (await this.#onPaper()).toSVG();
  }

  /** The chart as the address of a PNG file, dark on white. */
  async asPng() {
    return (await this.#onPaper()).toImageURL("png", 2);
  }

  async #onPaper() {
    const spec = { ...this.#spec, background: "white" };
    if (spec.width === "container") spec.width = WIDTH_ON_PAPER;
    const { view } = await embedded(element("div"), spec, INK);
    return view;
  }
}

/** With `ast` the library makes no functions of texts, which the page's policy forbids. */
async function embedded(place, spec, colours) {
  const embed = await loadedLibrary();
  return embed(place, spec, {
    actions: false,
    renderer: "svg",
    ast: true,
    defaultStyle: false,
    config: theme(colours),
    tooltip: { disableDefaultStyle: true },
  });
}

function theme({ text, quiet, line }) {
  const titles = { labelColor: quiet, titleColor: text, labelFont: FONT, titleFont: FONT };
  return {
    background: "transparent",
    font: FONT,
    title: { color: text, subtitleColor: quiet, anchor: "start", fontSize: 15 },
    axis: { ...titles, gridColor: line, domainColor: line, tickColor: line, labelFontSize: 12 },
    legend: titles,
    header: titles,
    text: { color: text },
    view: { stroke: null },
  };
}
