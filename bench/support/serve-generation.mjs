/**
 * The protocol of a process that generates on command, for Choir (`choir-generate.mjs`) and for llama.cpp
 * (`bench/peers/llama-cpp-generate.mjs`), so that both are timed by the same lines.
 *
 * The process sends `{"loadMs": ...}` with a description of the program when the model is loaded. It then reads commands
 * `{"generate": tokens, "prompt": ids}` and answers
 *
 *     {"tokens": [...], "prefillMs": ..., "msPerToken": [...], "peakMiB": ...}
 *
 * The pass over the prompt gives the first token, so `msPerToken` has one element fewer than `tokens`. `peakMiB` is the
 * peak resident memory of the process so far. `{"generate": tokens, "prompts": [ids, ...]}` continues several texts at once
 * and answers
 *
 *     {"tokensPerSecond": ..., "peakMiB": ...}
 *
 * with the rate of all texts together, from when each has its first token until the first of them is complete. The process
 * exits at the end of its input.
 */
import { createInterface } from 'node:readline'

const answer = (message) => process.stdout.write(`${JSON.stringify(message)}\n`)

/**
 * Loads a model and serves commands.
 * @param open Loads it. Returns `info`, fields of the description; `write(prompt)`, the endless greedy continuation of
 * a prompt as an async iterable of ids; `together(prompts, onToken)`, which continues several and calls
 * `onToken` with the index of a text for each token of it until that returns false; and `close()`. An optional `after()` returns more fields of an answer.
 */
export async function serve(open) {
  try {
    const began = performance.now()
    const { info, write, together, after = () => ({}), close } = await open()
    answer({ loadMs: performance.now() - began, ...info })
    for await (const line of createInterface({ input: process.stdin })) {
      const { generate, prompt, prompts } = JSON.parse(line)
      const timed = prompts
        ? await timeTogether((onToken) => together(prompts, onToken), prompts.length, generate)
        : { ...(await time(write(prompt), generate)), ...(await after()) }
      answer({ ...timed, peakMiB: process.resourceUsage().maxRSS / 1024 })
    }
    await close()
  } catch (error) {
    process.stderr.write(`${error.message}\n`)
    process.exit(error.name === 'UsageError' ? 2 : 1)
  }
}

async function time(text, count) {
  const tokens = []
  const times = []
  let before = performance.now()
  for await (const token of text) {
    const now = performance.now()
    times.push(now - before)
    before = now
    tokens.push(token)
    if (tokens.length === count) break
  }
  const [prefillMs, ...msPerToken] = times
  return { tokens, prefillMs, msPerToken }
}

async function timeTogether(write, streams, count) {
  const written = new Array(streams).fill(0)
  let [began, ended, counted] = [null, null, 0]
  await write((text) => {
    if (ended !== null) return false
    written[text]++
    if (began !== null) counted++
    else if (!written.includes(0)) began = performance.now()
    if (began !== null && written[text] >= count) ended = performance.now()
    return ended === null
  })
  return { tokensPerSecond: (1000 * counted) / (ended - began) }
}
