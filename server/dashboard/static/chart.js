/** A chart, drawn by Vega in the colours of the page, and as a picture to take away. */

import { element, set } from "./dom.js";
import { fitted } from "./fit.js";
import { loadedLibrary } from "./library.js";

const DARK = matchMedia("(prefers-color-scheme: dark)");
const FONT = "system-ui, sans-serif";
const WIDTH_ON_PAPER = 640;
const NOTEWORTHY = 40;
const MOST_DRAWN = 5000; // marks as elements of the page; more are painted
const INK = { text: "#1c2733", quiet: "#4c5a69", line: "#d7dde4" };
const CHALK = { text: "#e8edf3", quiet: "#b3bfcc", line: "#33404e" };

export class Chart {
  #spec;
  #signal;
  #place = element("div", { class: "chart", id: "chart" });
  #view = null;
  #width = 0;
  #drawing = Promise.resolve();

  /** `spec` is a Vega-Lite specification with its data; the chart ends with `signal`. */
  constructor(spec, signal) {
    this.#spec = spec;
    this.#signal = signal;
    this.node = element("figure", {}, this.#place);
  }

  /** Draws, and draws again when the page's colours or its width change. */
  async draw() {
    const options = { signal: this.#signal };
    DARK.addEventListener("change", () => this.#redraw(), options);
    window.addEventListener("resize", () => this.#resized(), options);
    this.#signal.addEventListener("abort", () => this.#end(), { once: true });
    await this.#redraw();
  }

  /** One drawing after the other: they share the place. */
  #redraw() {
    this.#drawing = this.#drawing.then(() => this.#drawn()).catch((error) => this.#failed(error));
    return this.#drawing;
  }

  async #drawn() {
    this.#width = this.#place.clientWidth;
    const spec = fitted(this.#spec, this.#width);
    const { view } = await embedded(this.#place, spec, DARK.matches ? CHALK : INK);
    this.#end();
    this.#view = view;
    window.sportiv.view = view;
    const isWider = this.#place.scrollWidth > this.#place.clientWidth;
    set(this.#place, "tabindex", isWider ? 0 : null);
    if (this.#signal.aborted) this.#end();
  }

  #failed(error) {
    const reason = `The chart cannot be drawn: ${error.message}`;
    this.#place.replaceChildren(element("p", { class: "notice" }, reason));
  }

  #resized() {
    const isOther = Math.abs(this.#place.clientWidth - this.#width) > NOTEWORTHY;
    if (isOther) this.#redraw();
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
    const spec = { ...fitted(this.#spec, WIDTH_ON_PAPER), background: "white" };
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
    renderer: spec.data?.values?.length > MOST_DRAWN ? "canvas" : "svg",
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
