/** What can be asked: the server's lists, each read once until the server is another one. */

export class Registry {
  #api;
  #lists = new Map();

  constructor(api) {
    this.#api = api;
  }

  /** Forget what was read: the server may have another table now. */
  forget() {
    this.#lists.clear();
  }

  /** The list of this name, one of `statistics`, `questions`, `states`, `categories`, `server`. */
  list(name) {
    if (!this.#lists.has(name)) {
      const reading = this.#api.data(`api/${name}`);
      this.#lists.set(name, reading);
      reading.catch(() => this.#lists.delete(name));
    }
    return this.#lists.get(name);
  }

  /** Several lists by their names. */
  async lists(...names) {
    const read = await Promise.all(names.map((name) => this.list(name)));
    return Object.fromEntries(names.map((name, place) => [name, read[place]]));
  }

  /** The statistic of this name; undefined where there is none. */
  async statistic(name) {
    return (await this.list("statistics")).find((each) => each.name === name);
  }
}
