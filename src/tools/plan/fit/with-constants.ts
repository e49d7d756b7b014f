/** A cluster with other constants than its own. */
import type { Cluster } from '../inputs/cluster.ts'
import type { Constants, EfficiencyFamily } from '../inputs/constants.ts'

/** The cluster with these constants. */
export function withConstants(cluster: Cluster, family: EfficiencyFamily | 'any', constants: Constants): Cluster {
  const { pad, bandwidth, attention, launch, float8, eager, dispatch } = constants
  const { device } = cluster
  return {
    ...cluster,
    device: {
      ...device,
      matmul: { ...device.matmul, efficiency: constants[family], padM: pad, padN: pad, padK: pad, float8 },
      bandwidthEfficiency: bandwidth,
      attentionEfficiency: attention,
      launch,
      eagerPasses: eager,
    },
    dispatchEfficiency: dispatch,
  }
}
