/** What-if questions: the best layout for each value of a field. */
import { formatValue } from '../../core/config/problems.ts'
import { option, UsageError, wording } from '../../core/errors.ts'
import type { Cluster } from './inputs/cluster.ts'
import { loadPlannedRun } from './inputs/load-plan.ts'
import { type Plan, plan } from './plan.ts'

export interface WhatIf {
  /** The varied field, or `routing`. */
  readonly field: string
  readonly cases: readonly { readonly value: string; readonly plan: Plan }[]
}

/** Routings that `--what-if routing` compares, as in the paper on M6-T. */
const routings: Readonly<Record<string, readonly string[]>> = {
  'top-1': ['router=top-k', 'k=1'],
  'top-2, fused': ['router=top-k', 'k=2'],
  'top-2, sequential': ['router=top-k', 'k=2', 'selection=sequential'],
  'top-4, fused': ['router=top-k', 'k=4'],
  'top-4, sequential': ['router=top-k', 'k=4', 'selection=sequential'],
  '2 top-1': ['router=prototype', 'prototypes=2', 'k=1'],
  '4 top-1': ['router=prototype', 'prototypes=4', 'k=1'],
  'top-2, capacity 1x': ['router=top-k', 'k=2', 'capacity=1x'],
  '2 top-1, capacity 1x': ['router=prototype', 'prototypes=2', 'k=1', 'capacity=1x'],
  '4 top-1, capacity 1x': ['router=prototype', 'prototypes=4', 'k=1', 'capacity=1x'],
}

/**
 * @param question `path=value,value,...`, or `routing`
 * @param sets assignments of the plan; the assignments of the question come after them
 * @throws UsageError if the question has neither form, or a value is invalid
 */
export async function whatIf(
  source: string,
  sets: readonly string[],
  cluster: Cluster,
  question: string,
): Promise<WhatIf> {
  const { field, values } = parseQuestion(question)
  const cases: { value: string; plan: Plan }[] = []
  for (const [value, assignments] of values)
    cases.push({ value, plan: await plan(await loadPlannedRun(source, [...sets, ...assignments]), cluster) })
  return { field, cases }
}

function parseQuestion(question: string): { field: string; values: [value: string, sets: string[]][] } {
  if (question === 'routing')
    return {
      field: 'routing',
      values: Object.entries(routings).map(([name, fields]) => [name, fields.map((field) => `model.moe.${field}`)]),
    }
  const at = question.indexOf('=')
  const field = question.slice(0, Math.max(0, at)).trim()
  const values = question.slice(at + 1).split(',')
  if (field === '' || values.some((value) => value.trim() === ''))
    throw new UsageError(
      wording`invalid ${option('whatIf')}: ${formatValue(question)} (expected path=value,value,... such as model.moe.factor=1,1.25,2, or routing)`,
    )
  return { field, values: values.map((value) => [value.trim(), [`${field}=${value.trim()}`]]) }
}
