/** @slow */
import { cpSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { type RunConfig, runSchema } from '../../src/core/config/run-config.ts'
import { anyVocabulary } from '../../src/core/config/testing/any-vocabulary.ts'
import { floatsOf } from '../../src/engine/contract/arena.ts'
import { openRuntime } from '../../src/node/run/session.ts'
import { findNonFinite } from '../../src/train/loop/find-non-finite.ts'
import { initialize, initialScales } from '../../src/train/step/store/initialize.ts'
import { parameterTensors } from '../../src/train/step/store/named-tensors.ts'
import type { ParameterStore } from '../../src/train/step/store/store.ts'
import { createStore, Trainer } from '../../src/train/step/trainer.ts'
import { checkpointsOf, expectSuccess, metrics, metricsWithoutTimes, Workspace } from './support.ts'

let workspace: Workspace
beforeAll(() => {
  workspace = new Workspace()
})
afterAll(() => workspace.remove())

test('an exploding learning rate ends with code 1, warnings that name step and tensor, and saved batches', async () => {
  const run = workspace.file('exploded')
  const config = workspace.config({
    train: {
      steps: 50,
      checkpointEvery: 1,
      keep: 100,
      maxNonFinite: 3,
      // The learning rate is the largest that is accepted.
      schedule: { kind: 'constant', learningRate: 2 ** 24, warmup: 0 },
      optimizer: { weightDecay: 0, clip: 0 },
    },
  })
  const { code, stdout, stderr } = await workspace.choir('train', config, '--out', run, '--json')
  expect(code).toBe(1)
  const lines: Record<string, unknown>[] = stdout
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line))
  const skipped = metrics(run).filter((record) => record.skipped === true)
  const first = skipped[0]?.step as number
  expect(skipped.map(({ step }) => step)).toEqual([first, first + 1, first + 2])
  expect(skipped.every(({ loss, grad_norm }) => loss === null || grad_norm === null)).toBe(true)

  const warnings = lines.filter(({ kind }) => kind === 'warning').map(({ message }) => message)
  expect(warnings).toHaveLength(3)
  for (const [i, message] of warnings.entries())
    expect(message).toMatch(
      new RegExp(
        `^step ${first + i}: the (loss|gradient norm) is \\S+, first in the gradient of [\\w.]+( \\(layer \\d, expert \\d\\))?; no parameter was`,
      ),
    )
  expect(stderr).toContain('stopping after 3 such steps in a row (train.maxNonFinite)')
  expect(stderr).toContain('lower train.schedule.learningRate')

  const saved = readdirSync(join(run, 'non-finite'))
  expect(saved).toHaveLength(3)
  const { step, tokens, targets } = JSON.parse(readFileSync(join(run, 'non-finite', saved[0] as string), 'utf8'))
  expect(step).toBe(first)
  expect(tokens).toHaveLength(4 * 32)
  // A target is the next token.
  expect(targets.slice(0, 31)).toEqual(tokens.slice(1, 32))

  // Checkpoints of skipped steps hold bitwise the parameters of the last good step.
  const sumOf = (name: string) =>
    /^(\w+) {2}model\.safetensors$/m.exec(readFileSync(join(run, 'checkpoints', name, 'SHA256SUMS'), 'utf8'))?.[1]
  const sums = checkpointsOf(run).map((name) => [Number(name.slice(5)), sumOf(name)] as const)
  const good = sums.find(([at]) => at === first - 1)?.[1]
  expect(good).toMatch(/^[0-9a-f]{64}$/)
  expect(sums.filter(([at]) => at >= first).map(([, sum]) => sum)).toEqual([good, good])
})

test('checkpoints of skipped steps remove no earlier checkpoint, and a run goes back to an earlier one', async () => {
  const run = workspace.file('back')
  const whole = workspace.file('never-exploded')
  const schedule = { kind: 'constant' as const, learningRate: 1e-3, warmup: 0 }
  const config = workspace.config({
    train: { steps: 10, checkpointEvery: 1, keep: 2, maxNonFinite: 4, schedule, optimizer: { weightDecay: 0 } },
  })
  await expectSuccess(workspace.start('train', config, '--out', run))
  cpSync(run, whole, { recursive: true })

  // With the largest rate a training takes some steps before it fails. A first attempt shows how many, so that the
  // second keeps exactly their checkpoints.
  const explode = (run: string, keep: number) =>
    workspace.choir(
      ...['train', '--resume', run, '--set', 'train.steps=50', '--set', `train.schedule.learningRate=${2 ** 24}`],
      ...['--set', `train.keep=${keep}`],
    )
  const firstSkipped = (run: string) => metrics(run).find((record) => record.skipped === true)?.step as number
  const attempt = workspace.file('attempt')
  cpSync(run, attempt, { recursive: true })
  await explode(attempt, 50)
  const { code, stderr } = await explode(run, firstSkipped(attempt) - 10)
  expect(code).toBe(1)
  expect(stderr).toContain('from a checkpoint before them if the newest fails again (--checkpoint STEP)')
  const first = firstSkipped(run)
  const steps = checkpointsOf(run).map((name) => Number(name.slice(5)))
  expect(steps).toEqual(Array.from({ length: first + 3 - 10 }, (_, i) => 10 + i))

  const mend = ['--set', 'train.steps=14', '--set', 'train.schedule.learningRate=1e-3', '--set', 'train.keep=2']
  const back = await expectSuccess(workspace.start('train', '--resume', run, '--checkpoint', '10', ...mend))
  expect(back.stdout + back.stderr).toMatch(/later checkpoints are set aside in .*: step-00000011\.aside, /)
  await expectSuccess(workspace.start('train', '--resume', whole, '--set', 'train.steps=14'))
  expect(metricsWithoutTimes(run)).toEqual(metricsWithoutTimes(whole))
  // The checkpoints that were set aside are still there, but no command uses them.
  expect(checkpointsOf(run).filter((name) => !name.endsWith('.aside'))).toEqual(['step-00000013', 'step-00000014'])
  expect(checkpointsOf(run)).toContain('step-00000011.aside')

  const missing = await workspace.choir('train', '--resume', run, '--checkpoint', '12')
  expect([missing.code, missing.stderr]).toEqual([2, expect.stringContaining('invalid checkpoint: 12 (')])
})

const configOf = (kind: 'adamw' | 'adafactor'): RunConfig =>
  runSchema.parse({
    data: anyVocabulary,
    model: { vocabulary: 32, layers: 2, width: 16, heads: 2, sequence: 8, moe: { experts: 4, hidden: 16 } },
    train: { batch: 2, optimizer: { kind }, schedule: { warmup: 0 } },
    runtime: { threads: 1 },
  })

const batch = {
  tokens: Int32Array.from({ length: 16 }, (_, i) => (i * 7) % 32),
  targets: Int32Array.from({ length: 16 }, (_, i) => ((i + 1) * 7) % 32),
}

async function withTrainer(
  kind: 'adamw' | 'adafactor',
  body: (trainer: Trainer, store: ParameterStore) => Promise<void>,
) {
  const config = configOf(kind)
  const runtime = await openRuntime(config)
  const store = createStore(runtime, config)
  await initialize(store, 0, initialScales(config))
  const trainer = await Trainer.compile(runtime, config, store)
  try {
    await body(trainer, store)
  } finally {
    await trainer.release()
    await runtime.close()
  }
}

/** The bits of all parameters and optimizer state, since NaN does not equal itself. */
const bits = (trainer: Trainer, store: ParameterStore): string =>
  [...parameterTensors(store), ...trainer.optimizer.stateTensors()]
    .map(({ range }) => floatsOf(range))
    .map(({ buffer, byteOffset, byteLength }) => Buffer.from(buffer, byteOffset, byteLength).toString('base64'))
    .join()

test.each(['adamw', 'adafactor'] as const)(
  'a skipped step changes no bit, and later steps are bitwise equal to steps without it: %s',
  async (kind) => {
    let expected = ''
    await withTrainer(kind, async (trainer, store) => {
      for (let step = 1; step <= 4; step++) await trainer.step(step, batch)
      expected = bits(trainer, store)
    })
    const poisons = [
      ['layers.1.attention.output', Number.NaN],
      ['layers.1.attention.output', Number.POSITIVE_INFINITY],
      // The loss stays finite, but its gradient does not.
      ['layers.0.moe.router', 1e30],
    ] as const
    for (const [name, poison] of poisons)
      await withTrainer(kind, async (trainer, store) => {
        for (let step = 1; step <= 2; step++) await trainer.step(step, batch)
        const target = floatsOf(store.parameter(name))
        const healthy = target[5] as number
        target[5] = poison
        const before = bits(trainer, store)
        const outcome = await trainer.step(3, batch)
        expect(outcome.skipped).toBe(true)
        expect(Number.isFinite(outcome.loss)).toBe(poison === 1e30)
        expect(trainer.updates).toBe(2)
        // NaN and infinity are found in the parameter itself; 1e30 is finite and found in a gradient.
        const where = await findNonFinite(store)
        if (poison === 1e30) expect(where).toMatch(/^first in the gradient of [\w.]+$/)
        else expect(where).toBe(`in parameter ${name}`)
        expect(bits(trainer, store)).toBe(before)
        target[5] = healthy
        for (let step = 3; step <= 4; step++) expect((await trainer.step(step, batch)).skipped).toBe(false)
        expect(bits(trainer, store)).toBe(expected)
      })
  },
)
