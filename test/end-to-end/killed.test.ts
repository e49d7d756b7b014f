/** @slow */
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { afterAll, beforeAll, expect, test } from 'vitest'
import type { RunInput } from '../../src/core/config/run-config.ts'
import { randomFor } from '../../src/core/random.ts'
import { killCases } from '../support/kill-cases.ts'
import { expectSuccess, type Line, results, trainRecords, Workspace } from './support.ts'

let workspace: Workspace
beforeAll(() => {
  workspace = new Workspace()
})
afterAll(() => workspace.remove())

/** Seed of the kill times. CHOIR_TEST_SEED=123 repeats the times of an earlier run, as far as a clock allows. */
const seed = Number(process.env.CHOIR_TEST_SEED ?? Date.now() % 1_000_000)
const steps = 40

/** The cases have every router and every kind of moments of `killCases` once; `npm run soak` runs all cases. */
const cases = ['top-k, moments in int8', 'prototype, AdamW, two micro-batches', 'random, Adafactor']

test.each(cases)(
  'a run that is killed at random times and resumed is bitwise equal to an uninterrupted one: %s',
  async (name) => {
    const over = killCases[name] as RunInput
    const config = workspace.config({
      ...over,
      model: { vocabulary: 257, ...over.model },
      // Checkpoints are frequent, so that many kills happen while one is written.
      train: { steps, checkpointEvery: 3, evalEvery: 10, routingEvery: 1, ...over.train },
    })
    const uninterrupted = workspace.file(`whole ${name}`)
    const killed = workspace.file(`broken ${name}`)
    const reference = expectSuccess(workspace.start('train', config, '--out', uninterrupted, '--json'))

    const random = randomFor(seed, 'kill', name)
    const instants: string[] = []
    let reached = 0
    for (let kill = 0; ; kill++) {
      const isNew = !existsSync(join(killed, 'config.json'))
      const place = isNew ? [config, '--out', killed] : ['--resume', killed]
      const running = workspace.start('train', ...place, '--json')
      if (kill < 3) {
        const inStart = kill === 0 && random.integer(2) === 0
        const target = inStart ? 0 : Math.min(steps, reached + 1 + random.integer(12))
        // The kill comes within a step (3 ms), an evaluation or a checkpoint (10 ms), or during startup (500 ms).
        const wait = random.uniform() * (inStart ? 500 : 20)
        // A resumed run may start after the target step: the killed process may have saved later steps.
        const reachesTarget = (line: Line) => line.kind === 'train' && (line.step as number) >= target
        if (!inStart) await running.line(reachesTarget)
        await delay(wait)
        running.kill('SIGKILL')
        instants.push(`${wait.toFixed(1)} ms after ${inStart ? 'the start' : `step ${target}`}`)
        reached = target
      }
      const { code, stderr } = await running.ended
      if (code === 0) break
      expect({ code, stderr, seed, instants }).toMatchObject({ code: null, stderr: '' })
    }
    await reference
    const context = `seed ${seed}, killed ${instants.join(', ')}`
    console.info(`${name}: ${context}`)
    expect(
      trainRecords(killed).map(({ step }) => step),
      context,
    ).toEqual(Array.from({ length: steps }, (_, i) => i + 1))
    expect(results(killed), context).toEqual(results(uninterrupted))
  },
  60_000,
)
