/** Predictions of the memory and time that a training needs on a cluster. */
import type { z } from 'zod'
import { fieldsOf, withPreset } from '../../core/config/preset-fields.ts'
import { parseInput } from '../../core/config/problems.ts'
import type { ClusterInput } from '../../tools/plan/inputs/cluster.ts'
import { loadCluster, loadPlannedRun, parseCluster } from '../../tools/plan/inputs/load-plan.ts'
import { planPresets } from '../../tools/plan/inputs/presets.ts'
import { plannedRunSchema } from '../../tools/plan/inputs/settings.ts'
import { type Plan, plan as planRun } from '../../tools/plan/plan.ts'

/** Fields of a run and of `plan`, all optional. They override the fields of a preset, such as `m6t-1t`. */
export type PlanInput = z.input<typeof plannedRunSchema> & { readonly preset?: string }

/**
 * Predicts memory in bytes and time in seconds of a training on a cluster, for many layouts. The plan has the fastest
 * layouts that fit or, if none fits, the layouts that lack least memory and changes that would help.
 *
 * @param model Name of a preset, path of a YAML or JSON file, or fields.
 * @param cluster Kind of device and their number, such as `h100-256`, path of a YAML or JSON file, or fields.
 * @example
 * ```ts
 * const { best } = await plan('m6t-1t', 'v100-480')
 * console.log(best[0]?.time.stepSeconds, best[0]?.memory.deviceBytes)
 * ```
 * @throws UsageError when a name is unknown or a field is wrong
 */
export async function plan(model: string | PlanInput, cluster: string | ClusterInput): Promise<Plan> {
  const run =
    typeof model === 'string'
      ? await loadPlannedRun(model, [])
      : parseInput(plannedRunSchema, withPreset(fieldsOf(model), planPresets), 'configuration')
  const on = typeof cluster === 'string' ? await loadCluster(cluster) : parseCluster(cluster)
  return planRun(run, on)
}
