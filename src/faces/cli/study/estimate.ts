/** Estimates a study before it runs, for `--dry-run` and `--budget`. */
import { UsageError } from '../../../core/errors.ts'
import type { EstimateOptions, StudyEstimate } from '../../../tools/study/estimate/estimate.ts'
import type { Specification } from '../../../tools/study/specification.ts'
import { labelled } from '../display/display.ts'
import { print } from '../display/print.ts'
import { budgetText, estimateText, refusedBudget } from '../display/study/estimate.ts'
import { colorsFor, Interrupted, type Io, interruptible } from '../io.ts'
import { writeJson } from '../json.ts'

interface Flags {
  readonly dryRun?: true
  readonly json?: true
}

/**
 * Estimates a study and prints the estimate, or without `--dry-run` only the choice of the budget.
 * @throws UsageError if not even the fewest seeds fit into the budget
 * @throws Interrupted after Ctrl-C
 */
export async function estimated(
  io: Io,
  specification: Specification,
  options: EstimateOptions,
  { dryRun, json }: Flags,
): Promise<StudyEstimate> {
  const estimate = await interruptible(io, (signal) =>
    io.operations.estimateStudy(specification, { ...options, dryRun, signal }),
  )
  if (estimate === null) throw new Interrupted()
  const { budget } = estimate
  const colors = colorsFor(io.stdout, io.env)
  if (json) writeJson(io, { kind: 'estimate', ...estimate, arms: estimate.arms.map(withText) })
  else if (dryRun) print(io, estimateText(estimate, colors))
  else if (budget?.seeds) print(io, `\n${labelled([['budget', budgetText(budget)]], colors)}`)
  if (budget && budget.seeds === null) throw new UsageError(refusedBudget(budget, commonSteps(specification, estimate)))
  return estimate
}

/** Paths of settings have dots, so they are no names of fields: the settings of an arm become a list. */
const withText = ({ settings, ...arm }: StudyEstimate['arms'][number]) => ({
  ...arm,
  settings: Object.entries(settings).map(([path, value]) => ({ path, value: JSON.stringify(value) })),
})

/** The steps that `--set train.steps` would replace; null if arms set their own. */
function commonSteps({ arms, grid }: Specification, estimate: StudyEstimate): number | null {
  const own = [...Object.values(arms).map((settings) => Object.keys(settings ?? {})), Object.keys(grid)].flat()
  if (own.some((path) => path === 'train' || path === 'train.steps')) return null
  return estimate.arms[0]?.steps ?? null
}
