/** How many jobs end a second, over the last minute, as a small chart. */

import { drawn, element } from "./dom.js";

const LOOKS = 60;
const [WIDTH, HEIGHT] = [600, 80];

export class Throughput {
  #rates = [];
  #before = null;
  #bars = drawn("g");
  #most = element("span", { class: "quiet" });

  constructor() {
    const picture = drawn(
      "svg",
      {
        viewBox: `0 0 ${WIDTH} ${HEIGHT}`,
        preserveAspectRatio: "none",
        class: "throughput",
        role: "img",
        "aria-label": "Jobs that ended in each second of the last minute",
      },
      this.#bars,
    );
    this.node = element(
      "figure",
      {},
      picture,
      element("figcaption", {}, "Jobs ended a second, over the last minute. ", this.#most),
    );
  }

  /** The rate between the last two looks; null before there are two. */
  get latest() {
    return this.#rates.at(-1) ?? null;
  }

  /** Takes in how many jobs had ended in all at a time in seconds. */
  add(ended, time) {
    const before = this.#before;
    this.#before = { ended, time };
    if (!before || ended == null) return;
    const jobs = Math.max(0, ended - before.ended); // a server that was started anew counts anew
    this.#rates = [...this.#rates, jobs / (time - before.time)].slice(-LOOKS);
    this.#draw();
  }

  #draw() {
    const highest = Math.max(1, ...this.#rates);
    const step = WIDTH / LOOKS;
    const first = LOOKS - this.#rates.length;
    const bars = this.#rates.map((rate, place) => {
      const height = (rate / highest) * HEIGHT;
      const x = (first + place) * step;
      return drawn("rect", { x, y: HEIGHT - height, width: step - 2, height });
    });
    this.#bars.replaceChildren(...bars);
    this.#most.textContent = `Highest: ${Math.max(...this.#rates).toFixed(1)}.`;
  }
}
