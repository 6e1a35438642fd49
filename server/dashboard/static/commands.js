/** The commands that ask the same as the page. */

const DEFAULT_SERVER = "http://127.0.0.1:5000/";

/** `text` as one word of a POSIX shell. */
export function quoted(text) {
  return /^[\w@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`;
}

/** A curl command that posts the request and waits for its answer up to a minute. */
export function curlCommand(server, statistic, request, needsToken) {
  const words = ["curl", "-s", quoted(`${server}api/${statistic}`)];
  words.push("-H", quoted("Content-Type: application/json"), "-H", quoted("Prefer: wait=60"));
  if (needsToken) words.push("-H", '"Authorization: Bearer $SPORTIV_TOKEN"');
  words.push("-d", quoted(JSON.stringify(request)));
  return words.join(" ");
}

/** The command of the project's own program that asks the same. */
export function cliCommand(server, statistic, request) {
  const words = ["sportiv"];
  if (server !== DEFAULT_SERVER) words.push("--url", quoted(server.replace(/\/$/, "")));
  words.push("ask", statistic);
  for (const [name, value] of Object.entries(request)) words.push(...options(name, value));
  return words.join(" ");
}

function options(name, value) {
  const option = `--${name.replaceAll("_", "-")}`;
  if (name === "years") return [option, value.join("-")];
  return [value].flat().flatMap((each) => [option, quoted(String(each))]);
}
