/**
 * The constants that are fitted to published measurements (`fit/fit.ts`), and their values before. Few, so that they
 * describe devices and libraries and not single measurements: one for each family of devices, the rest for all.
 */

/** Where the efficiencies of a device come from; `cluster.ts` has their meaning. */
export const constantSources = ['fitted', 'given', 'measured', 'unfitted'] as const
export type ConstantSource = (typeof constantSources)[number]

/** Devices with a common share of the peak that products reach. */
export const efficiencyFamilies = ['v100', 'a100', 'h100', 'blackwell', 'tpu'] as const
export type EfficiencyFamily = (typeof efficiencyFamilies)[number]

/** Of a name in `clusterFamilies`. */
export function efficiencyFamilyOf(name: string): EfficiencyFamily {
  if (name.startsWith('tpu')) return 'tpu'
  if (name.startsWith('v100') || name.startsWith('a100')) return name.startsWith('v100') ? 'v100' : 'a100'
  return name.startsWith('h') ? 'h100' : 'blackwell'
}

const shared = ['any', 'pad', 'bandwidth', 'attention', 'launch', 'float8', 'eager', 'dispatch'] as const

export const constantNames = [...efficiencyFamilies, ...shared] as const
export type ConstantName = (typeof constantNames)[number]
export type Constants = Readonly<Record<ConstantName, number>>

interface Prior {
  readonly value: number
  /** Standard deviation of the logarithm. */
  readonly deviation: number
  readonly most?: number
}

/** Before any measurement: orders of magnitude from vendors' benchmarks of single kernels. */
export const priors: Readonly<Record<ConstantName, Prior>> = {
  // Efficiencies of families are drawn towards that of `any`, with this deviation.
  ...(Object.fromEntries(efficiencyFamilies.map((name) => [name, { value: 0.75, deviation: 0.2, most: 1 }])) as Record<
    EfficiencyFamily,
    Prior
  >),
  /** Efficiency of products on a device of no family. */
  any: { value: 0.75, deviation: 0.2, most: 1 },
  /** Rows, columns and depth that a product pays for (`matmul.padM`, `padN`, `padK`). */
  pad: { value: 224, deviation: 0.3 },
  bandwidth: { value: 0.8, deviation: 0.2, most: 1 },
  attention: { value: 0.45, deviation: 0.3, most: 1 },
  /** Seconds of the host for a kernel. */
  launch: { value: 1e-5, deviation: 0.7 },
  float8: { value: 0.8, deviation: 0.2, most: 1 },
  /** Passes of eager programs over those of fused ones. */
  eager: { value: 3, deviation: 0.4 },
  /** Share of a link's bandwidth that all-to-alls of experts reach, over that of other collectives. */
  dispatch: { value: 0.8, deviation: 0.4, most: 1 },
}
