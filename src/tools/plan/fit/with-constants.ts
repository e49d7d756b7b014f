/** Replaces the constants of a cluster. */
import type { Cluster } from '../inputs/cluster.ts'
import type { Constants, EfficiencyFamily } from '../inputs/constants.ts'

/** The cluster with the given constants, of which the efficiency of products is the family's. */
export function withConstants(cluster: Cluster, family: EfficiencyFamily | 'any', constants: Constants): Cluster {
  const { pad, bandwidth, attention, launch, float8, dispatch } = constants
  const { device } = cluster
  return {
    ...cluster,
    device: {
      ...device,
      matmul: { ...device.matmul, efficiency: constants[family], padM: pad, padN: pad, padK: pad, float8 },
      bandwidthEfficiency: bandwidth,
      attentionEfficiency: attention,
      launch,
    },
    dispatchEfficiency: dispatch,
  }
}
