/** @slow */
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { loadCluster, loadPlannedRun } from './inputs/load-plan.ts'
import { type Plan, plan } from './plan.ts'
import { reportOf, writePlanReport } from './report.ts'
import { whatIf } from './what-if.ts'

const planned = async (sets: readonly string[] = []): Promise<Plan> =>
  plan(await loadPlannedRun('m6t-1t', sets), await loadCluster('v100-480'))

test('bars of memory and time add up to the total of each layout', async () => {
  const result = await planned()
  const { sections } = reportOf({ name: 'm6t-1t', plan: result, questions: [], command: 'choir plan' })
  for (const [id, whole] of [
    ['memory', (result.best[0]?.memory.deviceBytes ?? 0) / 1e9],
    ['time', result.best[0]?.time.stepSeconds ?? 0],
  ] as const) {
    const [figure] = sections.find((section) => section.id === id)?.blocks ?? []
    if (figure?.kind !== 'figure' || figure.form !== 'bars') throw new Error(`no bars of ${id}`)
    expect(figure.rows[0]?.values.reduce((a, b) => a + b, 0)).toBeCloseTo(whole, 9)
    expect(figure.rows[0]?.values).toHaveLength(figure.parts.length)
  }
})

test('a report states that nothing fits, the missing memory, and the smallest change that helps', async () => {
  const result = await planned(['plan.optimizer=adamw'])
  const { sections } = reportOf({ name: 'm6t-1t', plan: result, questions: [], command: 'choir plan' })
  const verdicts = sections.flatMap((section) => section.verdicts).join('\n')
  expect(verdicts).toContain('Does it fit: no')
  expect(verdicts).toContain(`lacks ${((result.rejected[0]?.lackingBytes ?? 0) / 1e9).toPrecision(3)} GB`)
  expect(verdicts).toContain(`The smallest change: ${result.changes[0]?.change}`)
})

test('a report is one file without external resources, with a section for each question', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'choir-plan-'))
  try {
    const cluster = await loadCluster('v100-480')
    const question = await whatIf('m6t-1t', [], cluster, 'model.moe.factor=1,2')
    const file = join(folder, 'deep', 'plan.html')
    await writePlanReport(file, { name: 'a & b', plan: await planned(), questions: [question], command: 'choir plan' })
    const html = await readFile(file, 'utf8')
    expect(html).toContain('What if model.moe.factor changes')
    expect(html).toContain('a &amp; b on v100-480')
    expect(html).not.toMatch(/(src|href)="https?:/)
  } finally {
    await rm(folder, { recursive: true })
  }
})
