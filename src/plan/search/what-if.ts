/** One thing varied: the best layout for each of its values. */
import { shown } from '../../config/problems.ts'
import { UsageError } from '../../errors.ts'
import type { Cluster } from '../inputs/cluster.ts'
import { loadPlannedRun } from '../inputs/load-plan.ts'
import { type Plan, plan } from '../plan.ts'

export interface WhatIf {
  /** What is varied. */
  readonly field: string
  readonly cases: readonly { readonly value: string; readonly plan: Plan }[]
}

/** Routings side by side, for `--what-if routing`: the paper's comparison. */
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
 * @param sets of the plan itself; the question's come after them
 * @throws UsageError when it is neither, or a value is refused
 */
export async function whatIf(
  source: string,
  sets: readonly string[],
  cluster: Cluster,
  question: string,
): Promise<WhatIf> {
  const { field, values } = parsed(question)
  const cases: { value: string; plan: Plan }[] = []
  for (const [value, over] of values)
    cases.push({ value, plan: await plan(await loadPlannedRun(source, [...sets, ...over]), cluster) })
  return { field, cases }
}

function parsed(question: string): { field: string; values: [value: string, sets: string[]][] } {
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
      `invalid --what-if: ${shown(question)} (expected path=value,value,... such as model.moe.factor=1,1.25,2, or routing)`,
    )
  return { field, values: values.map((value) => [value.trim(), [`${field}=${value.trim()}`]]) }
}
