/**
 * A process that trains on command; `choir.ts` starts it. It runs from a build, as the installed program does, so that
 * its peak memory does not include a TypeScript loader.
 *
 *     node bench/support/training-process.mjs BUILD SHAPE [path=value ...]
 *
 * BUILD is a folder such as dist/. The command {"warmUp": 8} trains 8 steps. The command {"run": 2} trains 2 steps; its
 * answer has the results of all steps so far without warm-ups, the times of these 2 steps and the loss of the last.
 */
import { join, resolve } from 'node:path'
import { createInterface } from 'node:readline'
import { pathToFileURL } from 'node:url'

const [build, shape, ...sets] = process.argv.slice(2)
const load = (module) => import(pathToFileURL(join(resolve(build), module)))
const { TrainingBench } = await load('node/measure/benchmark.js')
const { loadConfig } = await load('node/run/load-config.js')

const answer = (message) => process.stdout.write(`${JSON.stringify(message)}\n`)

async function serve() {
  const bench = await TrainingBench.open(await loadConfig(shape, sets))
  const { provider, kernels, math, threads, notice } = bench.result([])
  answer({ provider, kernels, math, threads, notice })
  const timed = []
  for await (const line of createInterface({ input: process.stdin })) {
    const { warmUp = 0, run = 0 } = JSON.parse(line)
    await bench.run(warmUp)
    const steps = await bench.run(run)
    timed.push(...steps)
    const of = { ms: steps.map(({ ms }) => ms), loss: steps.at(-1)?.outcome.loss }
    answer(run > 0 ? { ...bench.result(timed), ...of } : {})
  }
  await bench.close()
}

try {
  await serve()
} catch (error) {
  process.stderr.write(`${error.message}\n`)
  process.exit(error.name === 'UsageError' ? 2 : 1)
}
