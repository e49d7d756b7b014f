/** Studies as a user runs them: killed and restarted, interrupted, with a failing run, used wrongly; and their reports. */
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { setTimeout as delay } from 'node:timers/promises'
import { parquetReadObjects } from 'hyparquet'
import { afterAll, beforeAll, expect, test, vi } from 'vitest'
import { undocumented } from '../../src/cli/testing/documented-events.ts'
import { ARM_FILE, armIn } from '../../src/run/study-arm.ts'
import type { RunRecord } from '../../src/study/contract.ts'
import { type ExitResult, type Line, trainRecords, Workspace } from './support.ts'

let workspace: Workspace
beforeAll(() => {
  workspace = new Workspace()
})
afterAll(() => workspace.remove())

/** A study starts many processes. */
vi.setConfig({ testTimeout: 120_000 })

interface Results {
  readonly records: readonly RunRecord[]
  readonly timings: readonly { readonly arm: string; readonly stepMs: number }[]
  readonly specialisations: readonly object[]
}

/** Writes a study of small runs on the text of the workspace. Returns its path. */
function studyFile(name: string, more: object): string {
  const file = workspace.file(`${name}.json`)
  const set = { ...workspace.assignments(), 'train.steps': 12 }
  writeFileSync(
    file,
    JSON.stringify({
      base: 'tiny',
      seeds: [1, 2],
      ...more,
      set: { ...set, ...('set' in more ? (more.set as object) : {}) },
    }),
  )
  return file
}

const twoArms = { arms: { 'top-1': {}, 'top-2': { 'model.moe.k': 2 } } }

const resultsIn = (out: string): Results => JSON.parse(readFileSync(workspace.file(out, 'results.json'), 'utf8'))
const study = (file: string, out: string, ...more: string[]): Promise<ExitResult> =>
  workspace.choir('study', file, '--out', workspace.file(out), '--jobs', '2', ...more)

const lines = ({ stdout }: ExitResult): Line[] =>
  stdout
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line))

test('a study trains every arm with every seed on the same batches, and writes its report', async () => {
  const timedOnly = { dense: { 'model.moe': null } }
  const file = studyFile('whole', { ...twoArms, specialise: ['top-2'], timings: ['top-1'], timedOnly })
  const ended = await study(file, 'whole', '--json')
  expect(ended).toMatchObject({ code: 0, stderr: '' })
  for (const line of lines(ended)) expect(undocumented('study', line)).toEqual([])
  const { records, timings, specialisations } = resultsIn('whole')
  expect(records.map((record) => (record.status === 'failed' ? record.error : record.seed)).sort()).toEqual([
    1, 1, 2, 2,
  ])
  expect(specialisations).toHaveLength(1)
  expect(timings.map(({ arm, stepMs }) => [arm, stepMs > 0])).toEqual([
    ['top-1', true],
    ['dense', true],
  ])

  // Runs with equal seeds have the same initial parameters and batches, and differ only in k.
  const runs = readdirSync(workspace.file('whole', 'runs')).sort()
  expect(runs.map((name) => name.replace(/-[0-9a-f]+$/, ''))).toEqual([
    'top-1-seed-1',
    'top-1-seed-2',
    'top-2-seed-1',
    'top-2-seed-2',
  ])
  const arms = runs.map((name) => armIn(readFileSync(workspace.file('whole', 'runs', name, ARM_FILE), 'utf8')))
  expect(arms).toEqual(['top-1', 'top-1', 'top-2', 'top-2'])
  const first = runs.map((name) => trainRecords(workspace.file('whole', 'runs', name))[0])
  expect(first[0]?.loss).not.toBe(first[1]?.loss)

  for (const record of records) {
    if (record.status !== 'finished') throw new Error(record.error)
    expect(Number.isFinite(record.heldOut.loss)).toBe(true)
    // The loss is at the evaluation capacity; the other two are also stored.
    const { capacity, capacities, loss } = record.heldOut
    expect(capacity).toBe('eval')
    expect(loss).toBe(capacities.eval.loss)
    expect(capacities.train.drop_rate).toBeGreaterThan(0)
    expect(new Set([capacities.train.loss, loss, capacities.none.loss]).size).toBeGreaterThan(1)
    expect(record.train.step.at(-1)).toBe(12)
    expect(record.layers).toHaveLength(2)
    for (const { load } of record.layers)
      for (const shares of load) expect(shares.reduce((a, b) => a + b)).toBeCloseTo(1, 2)
  }
  const [one, two] = records.filter(({ seed }) => seed === 1)
  if (one?.status !== 'finished' || two?.status !== 'finished') throw new Error('not finished')
  expect(Math.max(one.trainFlops, two.trainFlops)).toBeGreaterThan(1.1 * Math.min(one.trainFlops, two.trainFlops))

  const html = readFileSync(workspace.file('whole', 'report.html'), 'utf8')
  expect(html).toContain('top-2')
  expect(html).not.toMatch(/(?:src|href)="https?:/)
  expect(readFileSync(workspace.file('whole', 'report.md'), 'utf8')).toContain('top-2')
  const bytes = readFileSync(workspace.file('whole', 'results.parquet'))
  const rows = await parquetReadObjects({ file: bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length) })
  expect(rows).toHaveLength(4)
  expect(rows.find(({ arm, seed }) => arm === 'top-1' && seed === 1n)?.held_out_loss).toBeCloseTo(
    (records.find((record) => record.seed === 1 && record.config.model.moe?.k === 1) as typeof one).heldOut.capacities
      .train.loss,
    6,
  )
})

test('a study that is killed and restarted has the results of an uninterrupted one', async () => {
  const file = studyFile('killed', { ...twoArms, set: { 'train.steps': 200 } })
  const whole = await study(file, 'uninterrupted')
  expect(whole.code).toBe(0)
  const running = workspace.start('study', file, '--out', workspace.file('killed'), '--jobs', '2', '--json')
  const record = (await running.line(({ kind }) => kind === 'end')).record as RunRecord
  if (record.status !== 'finished') throw new Error(record.error)
  running.kill('SIGKILL')
  await running.ended
  // Its runs save and exit by themselves; until then they hold the locks of their directories.
  await delay(1500)
  const done = resultsIn('killed').records.length
  expect(done).toBeGreaterThan(0)
  const again = await study(file, 'killed', '--json')
  expect(again.code).toBe(0)
  expect(lines(again).find(({ kind }) => kind === 'study')?.finished).toBe(done)
  const losses = (out: string) =>
    Object.fromEntries(
      resultsIn(out).records.map((record) => [record.key, record.status === 'finished' && record.heldOut.loss]),
    )
  expect(losses('killed')).toEqual(losses('uninterrupted'))
})

test('processes with --join share a study, one is killed, and the results are those of one process', async () => {
  const file = studyFile('shared', { ...twoArms, set: { 'train.steps': 60 } })
  expect((await study(file, 'shared-alone')).code).toBe(0)
  const join = ['--out', workspace.file('shared'), '--jobs', '1', '--join', '--json']
  const first = workspace.start('study', file, ...join)
  await first.line(({ kind }) => kind === 'begin')
  const refused = await study(file, 'shared')
  expect(refused).toMatchObject({ code: 1, stderr: expect.stringMatching(/in use by process \d+.*--join/) })
  const second = workspace.start('study', file, ...join)
  await second.line(({ kind }) => kind === 'begin')
  first.kill('SIGKILL')
  const { code, stdout } = await second.ended
  expect(code).toBe(0)
  const runs = stdout.split('\n').filter((line) => line.includes('"kind":"end"'))
  expect(runs.length).toBeLessThanOrEqual(4)
  const losses = (out: string) =>
    resultsIn(out)
      .records.map((record) => [record.key, record.status === 'finished' && record.heldOut.loss])
      .sort()
  expect(losses('shared')).toEqual(losses('shared-alone'))
  expect(readdirSync(workspace.file('shared')).filter((name) => ['cells', 'processes'].includes(name))).toEqual([])
})

test('a study with a dense arm that is killed in a sweep of learning rates has the results of an uninterrupted one', async () => {
  const input = {
    arms: { dense: { 'model.moe': null, 'model.hidden': 32 }, sparse: {} },
    set: { 'train.steps': 24, 'model.moe.zLoss': 0 },
    seeds: [1],
    tune: { rates: [0.5, 1, 2], steps: 0.5 },
  }
  const file = studyFile('tuned', input)
  const whole = await study(file, 'tuned-whole', '--json')
  expect(whole).toMatchObject({ code: 0, stderr: '' })
  const running = workspace.start('study', file, '--out', workspace.file('tuned'), '--jobs', '1', '--json')
  await running.line(({ kind }) => kind === 'end')
  running.kill('SIGKILL')
  await running.ended
  await delay(1500)
  const done = resultsIn('tuned').records.length
  expect(done).toBeLessThan(6)
  const again = await study(file, 'tuned', '--json')
  expect(again.code).toBe(0)
  expect(lines(again).find(({ kind }) => kind === 'study')?.finished_trials).toBe(done)
  const phases = lines(again).flatMap(({ kind, phase }) => (kind === 'phase' ? [phase] : []))
  expect(phases[0]).toBe('tuning')
  expect(phases.filter((phase) => phase !== 'tuning').slice(0, 1)).toEqual(['pilot'])
  const losses = (out: string) =>
    resultsIn(out)
      .records.map((record) => [record.key, record.status === 'finished' && record.heldOut.loss])
      .sort()
  expect(losses('tuned')).toEqual(losses('tuned-whole'))

  const { records } = resultsIn('tuned')
  const trials = records.filter(({ config }) => config.train.steps === 12)
  expect(trials.length).toBeGreaterThanOrEqual(6)
  for (const record of records) {
    if (record.status !== 'finished') throw new Error(record.error)
    expect(record.engine).toMatch(/oneDNN \d|ONNX Runtime alone/)
    expect(record.machine).not.toBe('')
  }
})

test('results of an older program are refused and not changed', async () => {
  const file = studyFile('older', twoArms)
  const text = JSON.stringify({ format: 1, name: 'older', machines: [], records: [], timings: [], specialisations: [] })
  mkdirSync(workspace.file('older'))
  writeFileSync(workspace.file('older', 'results.json'), text)
  for (const more of [[], ['--report']]) {
    const { code, stderr } = await study(file, 'older', ...more)
    expect({ code, stderr }).toMatchObject({ code: 2, stderr: expect.stringMatching(/older program.*another --out/s) })
  }
  expect(readFileSync(workspace.file('older', 'results.json'), 'utf8')).toBe(text)
})

test('a failing run is reported, and the others finish', async () => {
  const file = studyFile('failing', {
    arms: { good: {}, 'too fast': { 'train.schedule.learningRate': 1e30 } },
    set: { 'train.schedule.warmup': 0 },
    seeds: [1],
  })
  const ended = await study(file, 'failing')
  expect(ended.code).toBe(0)
  expect(ended.stdout).toMatch(/too fast, seed 1 {2}failed: .*finite/)
  expect(ended.stdout).toMatch(/1 of 2, 1 failed/)
  const report = readFileSync(workspace.file('failing', 'report.md'), 'utf8')
  expect(report).toContain('too fast')
  expect(report).toMatch(/finite/)
})

test('Ctrl-C saves the running trainings, prints how to continue, and exits with 130', async () => {
  const file = studyFile('interrupted', { ...twoArms, set: { 'train.steps': 5000 } })
  const running = workspace.start('study', file, '--out', workspace.file('interrupted'), '--jobs', '2', '--json')
  // A run without a finished step has nothing to save, so wait until both have one.
  const started = new Set<string>()
  await running.line(({ kind, arm, seed }) => kind === 'progress' && started.add(`${arm} ${seed}`).size === 2)
  running.kill('SIGINT')
  const { code, stderr } = await running.ended
  expect(code).toBe(130)
  expect(stderr).toMatch(/stopped with 0 of 4 runs; continue with: choir study/)
  const checkpoints = readdirSync(workspace.file('interrupted', 'runs')).map((run) =>
    existsSync(workspace.file('interrupted', 'runs', run, 'checkpoints')),
  )
  expect(checkpoints).toEqual([true, true])
})

test.each<[string, (file: string) => string[], RegExp]>([
  [
    'an unknown study',
    () => ['m7t'],
    /unknown study "m7t" \(expected m6t, witnesses, or a YAML file; did you mean "m6t"\?\)/,
  ],
  ['a missing file', () => ['nowhere.yaml'], /cannot read study "nowhere\.yaml"/],
  ['an unknown preset', () => ['m6t', '--preset', 'quik'], /invalid --preset: "quik" .*did you mean "quick"/],
  ['a preset of a file', (file) => [file, '--preset', 'quick'], /only m6t and witnesses have presets/],
  ['too many seeds', (file) => [file, '--seeds', '3'], /invalid --seeds: 3 \(the study has 2: 1, 2\)/],
  ['a report of nothing', (file) => [file, '--report'], /no results of this study in .* yet/],
  ['an impossible setting', (file) => [file, '--set', 'model.moe.k=0'], /model\.moe\.k: 0/],
  ['a missing text', (file) => [file, '--data', 'nowhere.txt'], /nowhere\.txt/],
])('%s is refused with exit code 2', async (_, args, message) => {
  const file = studyFile('refused', { arms: { a: {}, b: { 'model.moe.capacity': 'none' } } })
  rmSync(workspace.file('refused'), { recursive: true, force: true })
  const { code, stderr } = await workspace.choir('study', ...args(file), '--out', workspace.file('refused'))
  expect({ code, stderr }).toMatchObject({ code: 2, stderr: expect.stringMatching(message) })
  expect(stderr).not.toMatch(/ {4}at |internal:/)
})
