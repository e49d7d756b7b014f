/**
 * A process that trains on command; `choir.ts` starts it. It runs from dist/, as the installed program does, so that
 * its peak memory does not include a TypeScript loader.
 *
 *     node bench/support/training-process.mjs SHAPE [path=value ...]
 *
 * {"warmUp": 8} trains 8 steps. {"run": 2} trains 2 steps and answers with the results of all steps so far, except
 * those of warm-ups.
 */
import { createInterface } from 'node:readline'

const { TrainingBench } = await import(new URL('../../dist/measure/benchmark.js', import.meta.url))
const { loadConfig } = await import(new URL('../../dist/run/load-config.js', import.meta.url))

const answer = (message) => process.stdout.write(`${JSON.stringify(message)}\n`)

async function serve(shape, sets) {
  const bench = await TrainingBench.open(await loadConfig(shape, sets))
  const { provider, kernels, math, threads, notice } = bench.result([])
  answer({ provider, kernels, math, threads, notice })
  const timed = []
  for await (const line of createInterface({ input: process.stdin })) {
    const { warmUp = 0, run = 0 } = JSON.parse(line)
    await bench.run(warmUp)
    timed.push(...(await bench.run(run)))
    answer(run > 0 ? bench.result(timed) : {})
  }
  await bench.close()
}

try {
  const [shape, ...sets] = process.argv.slice(2)
  await serve(shape, sets)
} catch (error) {
  process.stderr.write(`${error.message}\n`)
  process.exit(error.name === 'UsageError' ? 2 : 1)
}
