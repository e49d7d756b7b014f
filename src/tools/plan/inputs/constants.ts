/**
 * The constants that are fitted to published measurements (`bench/planner/accuracy/fit.ts`). They are few, so that they
 * describe devices and libraries and not single measurements: each family of devices has one, and all devices share the
 * others.
 */

/** Sources of the efficiencies of a device; `cluster.ts` explains them. */
export const constantSources = ['fitted', 'given', 'measured', 'unfitted', 'borrowed'] as const
export type ConstantSource = (typeof constantSources)[number]

/** Classes of programs (`plan.program`); the errors of predictions are measured for each. */
export const programs = ['megatron', 'fsdp'] as const
export type Program = (typeof programs)[number]

/** Families of devices. Products reach the same share of the peak on all devices of a family. */
export const efficiencyFamilies = ['v100', 'a100', 'h100', 'blackwell', 'tpu'] as const
export type EfficiencyFamily = (typeof efficiencyFamilies)[number]

/** The family of a name in `clusterFamilies`. */
export function efficiencyFamilyOf(name: string): EfficiencyFamily {
  if (name.startsWith('tpu')) return 'tpu'
  if (name.startsWith('v100') || name.startsWith('a100')) return name.startsWith('v100') ? 'v100' : 'a100'
  return name.startsWith('h') ? 'h100' : 'blackwell'
}

const shared = [
  /** Efficiency of products on a device of no family. */
  'any',
  /** Rows, columns and depth that a product pays for without having them (`matmul.padM`, `padN`, `padK`). */
  'pad',
  'bandwidth',
  'attention',
  /** Seconds that the host needs to start a kernel. */
  'launch',
  'float8',
  /** Share of a link's bandwidth that all-to-alls of experts reach, divided by the share of other collectives. */
  'dispatch',
] as const

export const constantNames = [...efficiencyFamilies, ...shared] as const
export type ConstantName = (typeof constantNames)[number]
export type Constants = Readonly<Record<ConstantName, number>>
