/**
 * Forks of a run: without changes they are bitwise the same, other settings act from the checkpoint on, and a fork is
 * refused where the state would not fit. A fork and a resumed run are refused where no step is left.
 *
 * @slow
 */
import { createHash } from 'node:crypto'
import { cpSync, existsSync, readdirSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { checkpointsOf, evalRecords, expectSuccess, prose, results, trainRecords, Workspace } from './support.ts'

let workspace: Workspace
let source: string
beforeAll(async () => {
  workspace = new Workspace()
  source = workspace.file('source')
  writeFileSync(workspace.file('verses.txt'), prose(5, 40_000))
  const train = { steps: 60, checkpointEvery: 20, keep: 9, schedule: { learningRate: 3e-3, warmup: 5 } }
  await expectSuccess(workspace.start('train', workspace.config({ train }), '--out', source))
})
afterAll(() => workspace.remove())

const fork = (out: string, ...args: string[]) =>
  workspace.start('train', '--fork', source, '--out', workspace.file(out), ...args)
const stored = (run: string) => JSON.parse(readFileSync(join(run, 'config.json'), 'utf8'))
const tensors = (run: string, step: string, name: string) =>
  createHash('sha256')
    .update(readFileSync(join(run, 'checkpoints', step, name)))
    .digest('hex')
const losses = (run: string) => trainRecords(run).map(({ step, loss }) => ({ step, loss }))

test('a fork without changes has the losses, the weights and the moments of the run, bit for bit', async () => {
  await expectSuccess(fork('same', '--checkpoint', '20'))
  const run = workspace.file('same')
  expect(losses(run)).toEqual(losses(source).slice(20))
  const evaluations = (of: string) => evalRecords(of).map(({ step, loss }) => [step, loss])
  expect(evaluations(run)).toEqual(evaluations(source).filter(([step]) => (step as number) > 20))
  for (const name of ['model.safetensors', 'optimizer.safetensors'])
    expect(tensors(run, 'step-00000060', name)).toBe(tensors(source, 'step-00000060', name))
})

test('other settings act from the checkpoint on, and config.json records the origin', async () => {
  const ended = await expectSuccess(
    fork('changed', '--checkpoint', '40', '--set', 'train.schedule.learningRate=0.01', '--steps', '50'),
  )
  const run = workspace.file('changed')
  expect(ended.stdout).toMatch(
    /fork of +.*source, step 40\n +changed +train\.steps 60 → 50\n +train\.schedule\.learningRate/,
  )
  expect(stored(run).from).toMatchObject({
    run: source,
    step: 40,
    fork: true,
    weights: tensors(source, 'step-00000040', 'model.safetensors'),
  })
  expect(checkpointsOf(run)[0]).toBe('step-00000040')
  const [first, second] = trainRecords(run)
  const [was, later] = trainRecords(source).slice(40)
  // The first loss precedes the first update.
  expect(first).toMatchObject({ step: 41, loss: was?.loss })
  expect(second?.loss).not.toBe(later?.loss)
  const inspected = await workspace.choir('inspect', run)
  expect(inspected.stdout).toMatch(/begun with +the state of .*source, step 40/)
})

test('a fork goes on without the run, also if it was stopped before it had copied the state', async () => {
  await expectSuccess(fork('stopped', '--checkpoint', '20', '--steps', '60'))
  const run = workspace.file('stopped')
  const whole = results(run)
  for (const name of ['checkpoints', 'metrics.jsonl', 'routing.jsonl'])
    rmSync(join(run, name), { recursive: true, force: true })
  await expectSuccess(workspace.start('train', '--resume', run))
  expect(results(run)).toEqual(whole)
  const moved = workspace.file('moved')
  cpSync(source, moved, { recursive: true })
  await expectSuccess(workspace.start('train', '--fork', moved, '--checkpoint', '40', '--out', workspace.file('alone')))
  renameSync(moved, workspace.file('away'))
  const resumed = await expectSuccess(
    workspace.start('train', '--resume', workspace.file('alone'), '--set', 'train.steps=65'),
  )
  expect(resumed.stdout).toContain('continued from step 60')
})

test.each<[string, () => string[], RegExp]>([
  [
    'a step without a checkpoint',
    () => ['--checkpoint', '33'],
    /invalid checkpoint: 33 \(.* has those of steps 20, 40, 60\)/,
  ],
  [
    'the end of a training',
    () => [],
    /no step is left to train from step 60 .*--steps N, or an earlier checkpoint, --checkpoint 20 or 40/,
  ],
  [
    'other shapes',
    () => ['--set', 'model.moe.experts=8'],
    /invalid --fork: the weights .* do not fit[\s\S]*\[32, 8\] here/,
  ],
  [
    'another batch',
    () => ['--set', 'train.batch=8'],
    /train\.batch: \d in the run, 8 given \(the place in the text would be lost\)/,
  ],
  [
    'another optimizer',
    () => ['--set', 'train.optimizer.kind=adafactor'],
    /"adafactor" given \(the optimizer state would not fit\)/,
  ],
  ['frozen parameters', () => ['--freeze', 'embedding'], /train\.freeze: .*have no optimizer state/],
  ['another split', () => ['--set', 'data.seed=3'], /data\.seed: .*would be held out/],
  ['another tokenizer', () => ['--set', 'data.tokenizer.kind=bpe'], /invalid data\.tokenizer\.(kind|path): /],
  [
    'another text',
    () => ['--checkpoint', '20', '--data', workspace.file('verses.txt')],
    /invalid data\.source: it is not the text/,
  ],
  ['a run to begin with', () => ['--from', source], /invalid --fork: not with --from/],
])('a fork with %s is refused, with a reason, and leaves no run', async (_, args, message) => {
  const ended = await fork('refused', ...args()).ended
  expect(ended).toMatchObject({ code: 2, stderr: expect.stringMatching(message) })
  expect(ended.stderr).not.toMatch(/ {4}at |internal:/)
  expect(existsSync(workspace.file('refused', 'config.json'))).toBe(false)
})

/** Names, times and contents of the files of a run. */
const files = (run: string) =>
  readdirSync(run, { recursive: true, encoding: 'utf8' })
    .sort()
    .map((name) => [
      name,
      statSync(join(run, name)).mtimeMs,
      statSync(join(run, name)).isFile() && readFileSync(join(run, name), 'latin1'),
    ])

test('a run is not resumed at a later step than its last, and stays as it is', async () => {
  const run = workspace.file('done')
  cpSync(source, run, { recursive: true })
  writeFileSync(join(run, 'failure.json'), '{}')
  const before = files(run)
  const refused: [string[], RegExp][] = [
    [
      ['--steps', '12'],
      /: no step is left to train from step 60 of .*done, since train\.steps is 12 \(give more, --steps N\)/,
    ],
    [
      ['--set', 'train.steps=50'],
      /from step 60 .* is 50 \(give more, --steps N, or an earlier checkpoint, --checkpoint 20 or 40\)/,
    ],
    [['--checkpoint', '40', '--steps', '30'], /from step 40 .* is 30 \(.*, --checkpoint 20\)/],
  ]
  for (const [args, message] of refused) {
    const ended = await workspace.choir('train', '--resume', run, ...args)
    expect(ended).toMatchObject({
      code: 2,
      stdout: '',
      stderr: expect.stringMatching(/^choir: invalid --resume: no step/m),
    })
    expect(ended.stderr).toMatch(message)
  }
  expect(files(run)).toEqual(before)
})

test('a run at its last step may be resumed, and says how it gets more', async () => {
  const run = workspace.file('whole')
  cpSync(source, run, { recursive: true })
  for (const args of [[], ['--steps', '60']]) {
    const { stdout } = await expectSuccess(workspace.start('train', '--resume', run, ...args))
    expect(stdout).toMatch(/steps +none is left to step 60, .*: for more, choir train --resume .*whole --steps N\n/)
    expect(stdout).not.toMatch(/^ +time /m)
  }
  expect(stored(run)).toEqual(stored(source))
  // The newest checkpoint is damaged, with the size that it should have, so the run continues from the one before it.
  const weights = join(run, 'checkpoints', 'step-00000060', 'model.safetensors')
  const bytes = readFileSync(weights)
  writeFileSync(weights, bytes.fill(1, bytes.length - 8))
  const { stdout } = await expectSuccess(workspace.start('train', '--resume', run, '--steps', '50'))
  expect(stdout).toContain('continued from step 40')
})
