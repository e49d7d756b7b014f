/**
 * Rates of links from measured copies. Offloading moves data by copies, so their rate is the rate of the host link; it
 * is the slower of both directions, because all that leaves a device comes back. Between devices of a node, collectives
 * reach a part of the rate of copies.
 */
import { median } from '../../../core/averages.ts'
import type { Calibrated, Cluster } from '../inputs/cluster.ts'
import type { CopyKind, MeasuredCopies } from './copies.ts'

/**
 * Share of the rate of copies that collectives reach, on A100 with NVLink: 235 GB/s by nccl-tests (docs/planner.md,
 * Constants), 276 GB/s in the README of nvbandwidth, whose devices have the rates of A100, although it does not name them.
 */
export const COLLECTIVES_OF_COPIES = 235 / 276

/**
 * The cluster with rates of links by copies. A rate inside a node that collectives have set stays.
 * @param before names of the constants that other measurements have set
 */
export function calibrateCopies(
  cluster: Cluster,
  copies: readonly MeasuredCopies[],
  before: ReadonlySet<string>,
): { cluster: Cluster; calibrated: Calibrated[] } {
  const { links } = cluster
  const hostRuns = [
    ...preferred(copies, ['all to host', 'to host'], true),
    ...preferred(copies, ['host to all', 'from host'], true),
  ]
  const nodeRuns = before.has('links.node.rate') ? [] : preferred(copies, ['between devices'], false)
  const host = Math.min(...hostRuns.map(rateOf))
  const node = COLLECTIVES_OF_COPIES * Math.max(...nodeRuns.map(rateOf))
  const calibrated = (field: string, old: number, after: number, runs: readonly MeasuredCopies[]): Calibrated[] =>
    runs.length === 0
      ? []
      : [
          {
            field,
            before: old,
            after,
            files: [...new Set(runs.map(({ file }) => file))],
            times: runs.length,
            error: null,
          },
        ]
  const oldHost = links.host ? links.host.bandwidth * links.host.efficiency : 0
  const oldNode = links.node.bandwidth * links.node.efficiency
  return {
    cluster: {
      ...cluster,
      links: {
        ...links,
        ...(hostRuns.length > 0 && {
          host: { latency: links.node.latency, ...links.host, bandwidth: host, efficiency: 1 },
        }),
        ...(nodeRuns.length > 0 && { node: { ...links.node, bandwidth: node, efficiency: 1 } }),
      },
    },
    calibrated: [
      ...calibrated('links.host.rate', oldHost, host, hostRuns),
      ...calibrated('links.node.rate', oldNode, node, nodeRuns),
    ],
  }
}

const rateOf = ({ bytesPerSecond }: MeasuredCopies): number => median([...bytesPerSecond])

/**
 * The measurements of the first kind that has any. Copies between host and devices are made by the copy engine when a
 * training offloads, so if `byEngine`, kernels count only where the engine was not measured.
 */
function preferred(
  copies: readonly MeasuredCopies[],
  kinds: readonly CopyKind[],
  byEngine: boolean,
): readonly MeasuredCopies[] {
  const found = kinds.map((kind) => copies.filter((each) => each.kind === kind)).find(({ length }) => length > 0) ?? []
  const engine = found.filter((each) => each.byEngine)
  return byEngine && engine.length > 0 ? engine : found
}
