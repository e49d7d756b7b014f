/**
 * A cluster with rates and latencies of links that were measured on it: `choir plan --measured FILE`, the output of
 * nccl-tests or OSU. A constant that is one measured number belongs in a cluster file instead.
 */
import { UsageError } from '../../../core/errors.ts'
import { bytes, percent, plural, shortTime, signed } from '../../../core/text/numbers.ts'
import { errorCode } from '../../../node/system/disk.ts'
import { CONFIG_BYTES, readText } from '../../../node/system/read-text.ts'
import type { Calibrated, Cluster } from '../inputs/cluster.ts'
import { hasCollectives, type MeasuredCollective, type Ranks, readCollectives } from './collectives.ts'
import { calibrateLinks } from './links.ts'

/**
 * @param sources files, each with nodes and ranks in front of it if it does not list them: `2x8:osu.txt`
 * @throws UsageError if a file cannot be read or says nothing about the cluster
 */
export async function calibrated(cluster: Cluster, sources: readonly string[]): Promise<Cluster> {
  if (sources.length === 0) return cluster
  const collectives: MeasuredCollective[] = []
  for (const source of sources) collectives.push(...(await read(source, cluster)))
  const links = calibrateLinks(cluster, collectives)
  for (const source of sources) {
    const { file } = splitRanks(source)
    if (!links.useful.has(file))
      throw new UsageError(
        `invalid --measured ${file}: it sets no constant of ${cluster.name}, whose nodes have ${cluster.devicesPerNode} devices ` +
          '(measure all devices of a node, with messages from 8 bytes to 1 GiB)',
      )
  }
  return { ...links.cluster, calibration: links.calibrated }
}

function splitRanks(source: string): { file: string; ranks: Ranks | null } {
  const [, nodes, perNode, file] = /^(\d+)x(\d+):(.+)$/.exec(source) ?? []
  if (file === undefined) return { file: source, ranks: null }
  const ranks = { nodes: Number(nodes), perNode: Number(perNode) }
  if (ranks.nodes * ranks.perNode < 2)
    throw new UsageError(`invalid --measured ${source}: ${nodes} × ${perNode} ranks (expected at least 2)`)
  return { file, ranks }
}

async function read(source: string, cluster: Cluster): Promise<MeasuredCollective[]> {
  const { file, ranks } = splitRanks(source)
  let text: string
  try {
    text = await readText(file, CONFIG_BYTES)
  } catch (error) {
    const code = errorCode(error)
    if (code === 'ENOENT' || code === 'ENOTDIR')
      throw new UsageError(`no such file: ${file} (--measured expects a file, or nodes, ranks and a file: 2x8:${file})`)
    throw new UsageError(`cannot read --measured ${file}: ${(error as Error).message}`)
  }
  if (text.trim() === '') throw new UsageError(`invalid --measured ${file}: the file is empty`)
  if (!hasCollectives(text))
    throw new UsageError(
      `invalid --measured ${file}: expected the output of nccl-tests or of the OSU micro-benchmarks (rates of products and ` +
        'copies and a limit of power are fields of a cluster file: device.matmul.efficiency, links.host.bandwidth, device.powerLimit)',
    )
  const collectives = readCollectives(text, file, ranks)
  for (const run of collectives) checkRanks(cluster, run, ranks !== null)
  return collectives
}

/** @param given whether the user gave nodes and ranks; otherwise hosts count as nodes */
function checkRanks(
  { name, devicesPerNode }: Cluster,
  { file, ranks: { nodes, perNode } }: MeasuredCollective,
  given: boolean,
): void {
  if (perNode > devicesPerNode)
    throw new UsageError(
      `invalid --measured ${file}: ${perNode} ranks a node, but ${name} has devicesPerNode ${devicesPerNode}`,
    )
  if (!given && nodes > 1 && nodes * perNode <= devicesPerNode)
    throw new UsageError(
      `invalid --measured ${file}: ${nodes} hosts with ${perNode} ranks each, while a node of ${name} has ${devicesPerNode} devices ` +
        `(say whether fast links join the hosts, --measured 1x${nodes * perNode}:${file}, or not, --measured ${nodes}x${perNode}:${file})`,
    )
}

/** A calibrated constant as text: `links.node.rate 369 GB/s to 474 GB/s (+28 %)`, and where it is from. */
export function calibratedText({ field, before, after, files, times, error }: Calibrated): string {
  const shown = (value: number) =>
    field.endsWith('.latency') ? shortTime(value) : field.endsWith('.rate') ? `${bytes(value)}/s` : value.toFixed(3)
  const change = before > 0 ? ` (${signed(100 * (after / before - 1), 0)} %)` : ''
  return `${field} ${shown(before)} to ${shown(after)}${change} by ${files.join(', ')}; ${plural(times, 'time')} met within ${percent(error, 0)} (median)`
}
