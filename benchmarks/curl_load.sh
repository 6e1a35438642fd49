#!/usr/bin/env bash
# Posts N jobs to a running server, waits for all, reads all results; prints how long that took.
# One curl process does each round, with CLIENTS transfers at a time.
#
#   benchmarks/curl_load.sh [URL] [N] [CLIENTS]      (http://127.0.0.1:5000 1000 16)
#
# STATISTIC and BODY choose another question than the global mean of the first one; LIMIT is how
# many seconds the jobs may take, otherwise 300. The exit code is 0 where every job is done.
set -euo pipefail
export LC_ALL=C

url=${1:-http://127.0.0.1:5000}
jobs=${2:-1000}
clients=${3:-16}
statistic=${STATISTIC:-global_mean}
limit=${LIMIT:-300}

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

# Prints a piece of a curl configuration: one transfer from address $1 into file $2.
transfer() {
  printf 'next\nsilent\ngloboff\nurl = "%s"\noutput = "%s"\n' "$1" "$2"
  printf 'write-out = "%%{http_code} %%{time_total}\\n"\n'
}

# Prints the configuration of all POSTs.
posts() {
  local number
  for ((number = 1; number <= jobs; number++)); do
    transfer "$url/api/$statistic" "$folder/posted/$number"
    printf 'json = "@%s/body"\n' "$folder"
  done
}

# Prints the configuration of a GET for each id read; the server waits for the job, for a while.
gets() {
  local id
  while read -r id; do
    transfer "$url/api/get_results/$id?wait=20" "$folder/results/$id"
  done
}

# Runs a round: the configuration comes in, a line of status and seconds for each goes out.
round() {
  curl --no-progress-meter --parallel --parallel-max "$clients" --config - || true
}

# Prints the ids of jobs whose result, as it was read, has the status $1.
ids_with() {
  grep -rlE "\"status\": ?\"$1\"" "$folder/results" | sed 's|.*/||' || true
}

# Prints how many answers had each status, and the latencies.
summary() {
  cut -d ' ' -f 1 "$2" | sort | uniq -c |
    while read -r number status; do printf '%-8s status %s: %d\n' "$1" "$status" "$number"; done
  cut -d ' ' -f 2 "$2" | sort -n | awk -v name="$1" '
    { seconds[NR] = $1 }
    END { if (NR) printf "%-8s p50 %.1f ms, p99 %.1f ms\n", name,
          1000 * seconds[int((NR + 1) / 2)], 1000 * seconds[int((99 * NR + 99) / 100)] }'
}

now() { date +%s.%N; }

if [[ -n ${BODY:-} ]]; then
  printf '%s' "$BODY" > "$folder/body"
else
  curl --silent --show-error --fail "$url/api/questions" > "$folder/questions"
  sed -E 's/.*"data":\[\{"question":("([^"\\]|\\.)*").*/{"question":\1}/' \
    "$folder/questions" > "$folder/body"
fi

mkdir "$folder/posted" "$folder/results"
touch "$folder/gets.txt"
begun=$(now)
posts | round > "$folder/posts.txt"
grep -rhoE '"job_id": ?[0-9]+' "$folder/posted" | grep -oE '[0-9]+$' > "$folder/ids" || true
posted=$(now)
cp "$folder/ids" "$folder/open"
while [[ -s $folder/open ]] && ((SECONDS < limit)); do
  gets < "$folder/open" | round >> "$folder/gets.txt"
  ids_with running > "$folder/open"
done
ended=$(now)

echo "$jobs jobs ($statistic) on $url, $clients at a time"
summary POST "$folder/posts.txt"
summary GET "$folder/gets.txt"
done_jobs=$(ids_with "done" | wc -l)
awk -v jobs="$jobs" -v done="$done_jobs" -v begun="$begun" -v posted="$posted" -v ended="$ended" '
  BEGIN {
    printf "accepted in %.2f s, all results read after %.2f s\n", posted - begun, ended - begun
    printf "%.0f jobs/s, %d of %d done\n", done / (ended - begun), done, jobs
    exit done != jobs
  }'
