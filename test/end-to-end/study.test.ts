/** Studies as a user runs them: interrupted, with a failing run, used wrongly; and their reports. */
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { parquetReadObjects } from 'hyparquet'
import { expect, test, vi } from 'vitest'
import { undocumented } from '../../src/faces/cli/testing/documented-events.ts'
import { ARM_FILE, armIn } from '../../src/node/run/study-arm.ts'
import { lines, studyRuns, timeouts, twoArms } from './study-runs.ts'
import { trainRecords } from './support.ts'

vi.setConfig(timeouts)
const { workspace, studyFile, study, resultsIn } = studyRuns()

test('a study trains every arm with every seed on the same batches, and writes its report', async () => {
  // The dense arm is timed five times.
  const timedOnly = { dense: { 'model.moe': null } }
  const file = studyFile('whole', { ...twoArms, specialise: ['top-2'], timedOnly })
  const ended = await study(file, 'whole', '--json')
  expect(ended).toMatchObject({ code: 0, stderr: '' })
  for (const line of lines(ended)) expect(undocumented('study', line)).toEqual([])
  const { records, timings, specialisations } = resultsIn('whole')
  expect(records.map((record) => (record.status === 'failed' ? record.error : record.seed)).sort()).toEqual([
    1, 1, 2, 2,
  ])
  expect(specialisations).toHaveLength(1)
  expect(timings.map(({ arm, stepMs }) => [arm, stepMs > 0])).toEqual([['dense', true]])

  // Runs with equal seeds have the same initial parameters and batches, and differ only in k.
  const runs = readdirSync(workspace().file('whole', 'runs')).sort()
  expect(runs.map((name) => name.replace(/-[0-9a-f]+$/, ''))).toEqual([
    'top-1-seed-1',
    'top-1-seed-2',
    'top-2-seed-1',
    'top-2-seed-2',
  ])
  const arms = runs.map((name) => armIn(readFileSync(workspace().file('whole', 'runs', name, ARM_FILE), 'utf8')))
  expect(arms).toEqual(['top-1', 'top-1', 'top-2', 'top-2'])
  const first = runs.map((name) => trainRecords(workspace().file('whole', 'runs', name))[0])
  expect(first[0]?.loss).not.toBe(first[1]?.loss)

  for (const record of records) {
    if (record.status !== 'finished') throw new Error(record.error)
    expect(Number.isFinite(record.heldOut.loss)).toBe(true)
    // The loss is at the evaluation capacity; the losses at the other two capacities are stored too.
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

  const html = readFileSync(workspace().file('whole', 'report.html'), 'utf8')
  expect(html).toContain('top-2')
  expect(html).not.toMatch(/(?:src|href)="https?:/)
  expect(readFileSync(workspace().file('whole', 'report.md'), 'utf8')).toContain('top-2')
  const bytes = readFileSync(workspace().file('whole', 'results.parquet'))
  const rows = await parquetReadObjects({ file: bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length) })
  // The runs, and the arm that is only timed.
  expect(rows.map(({ status }) => status)).toEqual(['finished', 'finished', 'finished', 'finished', 'timed'])
  for (const { step_ms } of rows.filter(({ status }) => status === 'timed')) expect(step_ms).toBeGreaterThan(0)
  expect(rows.find(({ arm, seed }) => arm === 'top-1' && seed === 1n)?.held_out_loss).toBeCloseTo(
    (records.find((record) => record.seed === 1 && record.config.model.moe?.k === 1) as typeof one).heldOut.capacities
      .train.loss,
    6,
  )
})

test('results of an older program are refused and not changed', async () => {
  const file = studyFile('older', twoArms)
  const text = JSON.stringify({ format: 1, name: 'older', machines: [], records: [], timings: [], specialisations: [] })
  mkdirSync(workspace().file('older'))
  writeFileSync(workspace().file('older', 'results.json'), text)
  for (const more of [[], ['--report']]) {
    const { code, stderr } = await study(file, 'older', ...more)
    expect({ code, stderr }).toMatchObject({ code: 2, stderr: expect.stringMatching(/older program.*another --out/s) })
  }
  expect(readFileSync(workspace().file('older', 'results.json'), 'utf8')).toBe(text)
})

test('a failing run is reported, and the others finish', async () => {
  const file = studyFile('failing', {
    arms: { good: {}, 'too fast': { 'train.schedule.learningRate': 2 ** 24 } },
    set: { 'train.schedule.warmup': 0, 'train.optimizer.weightDecay': 0, 'train.maxNonFinite': 1, 'train.steps': 20 },
    seeds: [1],
  })
  const ended = await study(file, 'failing')
  expect(ended.code).toBe(0)
  expect(ended.stdout).toMatch(/too fast, seed 1 {2}failed: .*finite/)
  expect(ended.stdout).toMatch(/1 of 2, 1 failed/)
  const report = readFileSync(workspace().file('failing', 'report.md'), 'utf8')
  expect(report).toContain('too fast')
  expect(report).toMatch(/finite/)
})

test('Ctrl-C saves the running trainings, prints how to continue, and exits with 130', async () => {
  const file = studyFile('interrupted', { ...twoArms, set: { 'train.steps': 5000 } })
  const running = workspace().start('study', file, '--out', workspace().file('interrupted'), '--jobs', '2', '--json')
  // A run without a finished step has nothing to save, so wait until both have one.
  const started = new Set<string>()
  await running.line(({ kind, arm, seed }) => kind === 'progress' && started.add(`${arm} ${seed}`).size === 2)
  running.kill('SIGINT')
  const { code, stderr } = await running.ended
  expect(code).toBe(130)
  expect(stderr).toMatch(/stopped with 0 of 4 runs; continue with: choir study/)
  const checkpoints = readdirSync(workspace().file('interrupted', 'runs')).map((run) =>
    existsSync(workspace().file('interrupted', 'runs', run, 'checkpoints')),
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
  rmSync(workspace().file('refused'), { recursive: true, force: true })
  const { code, stderr } = await workspace().choir('study', ...args(file), '--out', workspace().file('refused'))
  expect({ code, stderr }).toMatchObject({ code: 2, stderr: expect.stringMatching(message) })
  expect(stderr).not.toMatch(/ {4}at |internal:/)
})
