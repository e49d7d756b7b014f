/**
 * Studies that are interrupted, have a failing run or are used wrongly, and arms that are timed or examined.
 *
 * @slow
 */
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { parquetReadObjects } from 'hyparquet'
import { expect, test, vi } from 'vitest'
import { undocumented } from '../../src/faces/cli/testing/documented-events.ts'
import { lines, studyRuns, timeouts, twoArms } from './study-runs.ts'

vi.setConfig(timeouts)
const { workspace, studyFile, study, resultsIn } = studyRuns()

test('an arm that is only timed has times of steps, and the specialisation of an arm is stored', async () => {
  // The dense arm is timed five times.
  const timedOnly = { dense: { 'model.moe': null } }
  const file = studyFile('timed', {
    arms: { 'top-2': twoArms.arms['top-2'] },
    seeds: [1],
    specialise: ['top-2'],
    timedOnly,
  })
  const ended = await study(file, 'timed', '--json')
  expect(ended).toMatchObject({ code: 0, stderr: '' })
  for (const line of lines(ended)) expect(undocumented('study', line)).toEqual([])
  const { timings, specialisations } = resultsIn('timed')
  expect(specialisations).toHaveLength(1)
  expect(timings.map(({ arm, stepMs }) => [arm, stepMs > 0])).toEqual([['dense', true]])
  const bytes = readFileSync(workspace().file('timed', 'results.parquet'))
  const rows = await parquetReadObjects({ file: bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length) })
  expect(rows.map(({ status }) => status)).toEqual(['finished', 'timed'])
  for (const { step_ms } of rows.filter(({ status }) => status === 'timed')) expect(step_ms).toBeGreaterThan(0)
})

test('results of an older program are refused and not changed', async () => {
  const file = studyFile('older', twoArms)
  const text = JSON.stringify({ format: 1, name: 'older', machines: [], records: [], timings: [], specialisations: [] })
  mkdirSync(workspace().file('older'))
  writeFileSync(workspace().file('older', 'results.json'), text)
  for (const more of [[], ['--report']]) {
    const { code, stderr } = await workspace().choir('study', file, '--out', workspace().file('older'), ...more)
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
