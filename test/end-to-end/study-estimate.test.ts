/**
 * `choir study --dry-run` and `--budget` as a user runs them, with real trainings of a few steps.
 *
 * @slow
 */
import { existsSync, mkdirSync, readdirSync, readFileSync } from 'node:fs'
import { expect, test, vi } from 'vitest'
import { undocumented } from '../../src/faces/cli/testing/documented-events.ts'
import { lines, studyRuns, timeouts, twoArms } from './study-runs.ts'
import type { ChoirProcess, Line } from './support.ts'

vi.setConfig(timeouts)
const { workspace, studyFile, resultsIn } = studyRuns()

/** Starts the program with temporary folders of its own, so that what it leaves behind is seen. */
function startIn(temporary: string, ...args: string[]): ChoirProcess {
  mkdirSync(temporary, { recursive: true })
  const before = process.env.TMPDIR
  process.env.TMPDIR = temporary
  try {
    return workspace().start(...args)
  } finally {
    if (before === undefined) delete process.env.TMPDIR
    else process.env.TMPDIR = before
  }
}

const estimateIn = (all: readonly Line[]) =>
  all.find(({ kind }) => kind === 'estimate') as Line & {
    readonly seconds: Record<string, number>
    readonly bytes: Record<string, number>
    readonly arms: readonly {
      readonly arm: string
      readonly step_seconds: number
      readonly warnings: readonly string[]
    }[]
    readonly budget: { readonly seeds: number | null } | null
  }

test('--dry-run measures every arm, and leaves neither a study nor temporary files', async () => {
  const temporary = workspace().file('temporary')
  const arms = { ...twoArms.arms, 'expert choice': { 'model.moe.router': 'expert-choice' } }
  const file = studyFile('dry', { arms, timings: ['top-1'] })
  const out = workspace().file('dry')
  const ended = await startIn(temporary, 'study', file, '--dry-run', '--out', out, '--jobs', '2', '--json').ended
  expect(ended).toMatchObject({ code: 0, stderr: '' })
  for (const line of lines(ended)) expect(undocumented('study', line)).toEqual([])
  const estimate = estimateIn(lines(ended))
  expect(estimate).toMatchObject({ seeds: 2, runs: 6, finished: 0, budget: null })
  for (const cause of ['training', 'evaluation', 'starting', 'timing'])
    expect(estimate.seconds[cause], cause).toBeGreaterThan(0)
  for (const { arm, step_seconds } of estimate.arms) expect(step_seconds, arm).toBeGreaterThan(0)
  // A router that sees later tokens gives a notice, here as in a training.
  expect(estimate.arms.map(({ warnings }) => warnings.some((text) => text.includes('later tokens')))).toEqual([
    ...[false, false, true],
  ])
  // Parameters and two moments of four bytes each.
  const parameters = 12 * (estimate.arms[0] as unknown as { parameters: number }).parameters
  expect(estimate.bytes.peak).toBeGreaterThan(2 * 2 * parameters)
  expect(existsSync(out)).toBe(false)
  expect(readdirSync(temporary)).toEqual([])
})

test('Ctrl-C in a dry run ends with 130 and removes the temporary folders, also a second one at once', async () => {
  // The steps of this model take long enough to be interrupted.
  const set = { 'model.width': 256, 'model.hidden': 1024, 'model.layers': 6, 'train.batch': 16 }
  const file = studyFile('interrupted-dry', { ...twoArms, set })
  for (const times of [1, 2]) {
    const temporary = workspace().file(`interrupted-${times}`)
    const running = startIn(temporary, 'study', file, '--dry-run', '--jobs', '2', '--json')
    await running.line(({ message }) => String(message).includes('measuring'))
    await vi.waitFor(() => expect(readdirSync(temporary, { recursive: true }).join()).toContain('metrics.jsonl'), {
      ...{ timeout: 60_000, interval: 20 },
    })
    running.kill('SIGINT')
    if (times === 2) {
      await new Promise((resolve) => setTimeout(resolve, 150))
      running.kill('SIGINT')
    }
    // If the program is too busy to act, the second signal itself ends it, which a shell shows as 130 too.
    expect(times === 2 ? [130, null] : [130]).toContain((await running.ended).code)
    // After a second Ctrl-C the probes end by themselves, as soon as they notice.
    await vi.waitFor(() => expect(readdirSync(temporary)).toEqual([]), { timeout: 60_000, interval: 50 })
  }
})

test('a generous budget has all seeds and the study reports its time left; a short one is refused, and says what fits', async () => {
  const file = studyFile('budget', { ...twoArms, seeds: [1, 2, 3], set: { 'train.evalEvery': 4 } })
  const args = ['study', file, '--out', workspace().file('budget'), '--jobs', '2']
  const short = await workspace().choir(...args, '--budget', '1s')
  expect(short.code).toBe(2)
  expect(short.stderr).toMatch(/invalid --budget: 1\.0s \(two seeds need about .*: expected at least that; /)
  expect(existsSync(workspace().file('budget'))).toBe(false)

  const ended = await workspace().choir(...args, '--seeds', '2', '--budget', '2h', '--json')
  expect(ended.code).toBe(0)
  const all = lines(ended)
  for (const line of all) expect(undocumented('study', line)).toEqual([])
  expect(estimateIn(all).budget).toMatchObject({ seeds: 2 })
  expect(resultsIn('budget').records).toHaveLength(4)
  expect(readFileSync(workspace().file('budget', 'report.md'), 'utf8')).toContain('--seeds 2')
  const progress = all.filter(({ kind }) => kind === 'progress')
  const firstEnd = all.findIndex(({ kind }) => kind === 'end')
  expect(all.slice(0, firstEnd).some(({ seconds_left }) => Number(seconds_left) > 0)).toBe(true)
  const activities = (step: number) => progress.filter((line) => line.step === step).map(({ activity }) => activity)
  // The last evaluation, on all held-out text, comes after the evaluation of the last step.
  expect(new Set(activities(4))).toEqual(new Set(['evaluation', 'training']))
  expect(activities(12).filter((activity) => activity === 'evaluation').length).toBe(2 * 4)
})
