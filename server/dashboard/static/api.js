/** Calls of the server. They outlast its restarts, and get the token where one is needed. */

const PATIENCE = 15_000;
const GATEWAY = new Set([502, 504]);
const LATER = new Set([503, 507]);

/** What the server refused, with its words. */
export class Refused extends Error {
  constructor(status, reason) {
    super(reason);
    this.status = status;
  }
}

export class Api {
  #connection;
  #token;

  constructor(connection, token) {
    this.#connection = connection;
    this.#token = token;
  }

  /** Whether calls are made with a token. */
  get hasToken() {
    return Boolean(this.#token.value);
  }

  /** The JSON at `path`. `wait` is how many seconds the server may take its time. */
  async get(path, { signal, wait = 0 } = {}) {
    return (await this.call("GET", path, { signal, wait })).json();
  }

  /** The `data` at `path`. */
  async data(path, options) {
    return (await this.get(path, options)).data;
  }

  /** Posts a job; its number. Tried again under one key, so that it stays one job. */
  async submit(statistic, request, signal) {
    const headers = { "Content-Type": "application/json", "Idempotency-Key": freshKey() };
    const body = JSON.stringify(request);
    const answer = await this.call("POST", `api/${statistic}`, { headers, body, signal });
    return (await answer.json()).job_id;
  }

  /** The answer to one request, once there is one that is neither a failure nor a refusal. */
  async call(method, path, { headers = {}, body, signal, wait = 0 } = {}) {
    for (;;) {
      const used = this.#token.value;
      const sent = used ? { ...headers, Authorization: `Bearer ${used}` } : headers;
      const answer = await fetched(path, { method, headers: sent, body }, signal, wait);
      if (answer === null || GATEWAY.has(answer.status)) {
        await this.#connection.gone(signal);
        continue;
      }
      if (answer.ok) {
        this.#connection.found();
        return answer;
      }
      const reason = await reasonOf(answer);
      if (LATER.has(answer.status)) {
        await this.#connection.refused(reason, Number(answer.headers.get("Retry-After")), signal);
        continue;
      }
      this.#connection.found();
      if (answer.status === 401 && (await this.#token.ask(reason, used))) continue;
      throw new Refused(answer.status, reason);
    }
  }
}

/** The answer, or null where none came; what was given up on purpose is thrown. */
async function fetched(path, request, signal, wait) {
  const limit = AbortSignal.timeout(PATIENCE + wait * 1000);
  try {
    const signals = signal ? [signal, limit] : [limit];
    return await fetch(path, { ...request, cache: "no-store", signal: AbortSignal.any(signals) });
  } catch (error) {
    if (signal?.aborted) throw error;
    return null;
  }
}

async function reasonOf(answer) {
  try {
    return (await answer.json()).reason ?? answer.statusText;
  } catch {
    return `status ${answer.status}`;
  }
}

function freshKey() {
  const numbers = crypto.getRandomValues(new Uint32Array(4));
  return [...numbers].map((number) => number.toString(16).padStart(8, "0")).join("");
}
