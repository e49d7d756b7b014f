/**
 * A cluster with constants that were measured on it: `choir plan --measured FILE`. The tool that wrote a file is
 * recognised by its output.
 */
import { UsageError } from '../../../core/errors.ts'
import { bytes, percent, plural, shortTime, signed, significant } from '../../../core/text/numbers.ts'
import { errorCode } from '../../../node/system/disk.ts'
import { CONFIG_BYTES, readText } from '../../../node/system/read-text.ts'
import type { Calibrated, Cluster } from '../inputs/cluster.ts'
import { hasCollectives, type MeasuredCollective, type Ranks, readCollectives } from './collectives.ts'
import { calibrateCopies } from './copied-links.ts'
import { hasCopies, type MeasuredCopies, readCopies } from './copies.ts'
import { calibrateDevice } from './device.ts'
import { calibrateLinks } from './links.ts'
import { hasPower, hasProducts, type MeasuredPower, type MeasuredProduct, readPower, readProducts } from './products.ts'

interface Measurements {
  readonly collectives: readonly MeasuredCollective[]
  readonly copies: readonly MeasuredCopies[]
  readonly products: readonly MeasuredProduct[]
  readonly power: readonly MeasuredPower[]
}

/**
 * @param sources files, each with nodes and ranks in front of it if it does not list them: `2x8:osu.txt`
 * @throws UsageError if a file cannot be read or says nothing about the cluster
 */
export async function calibrated(cluster: Cluster, sources: readonly string[]): Promise<Cluster> {
  if (sources.length === 0) return cluster
  const measured = { collectives: [], copies: [], products: [], power: [] } as {
    collectives: MeasuredCollective[]
    copies: MeasuredCopies[]
    products: MeasuredProduct[]
    power: MeasuredPower[]
  }
  for (const source of sources) {
    const { collectives, copies, products, power } = await read(source, cluster)
    measured.collectives.push(...collectives)
    measured.copies.push(...copies)
    measured.products.push(...products)
    measured.power.push(...power)
  }
  const links = calibrateLinks(cluster, measured.collectives)
  const device = calibrateDevice(cluster.device, measured.products, measured.power)
  const set = new Set(links.calibrated.map(({ field }) => field))
  const copied = calibrateCopies(links.cluster, measured.copies, set)
  const all = [...links.calibrated, ...copied.calibrated, ...device.calibrated]
  const useful = new Set([
    ...links.useful,
    ...measured.copies.map(({ file }) => file),
    ...device.calibrated.flatMap(({ files }) => files),
  ])
  for (const source of sources) {
    const { file } = splitRanks(source)
    if (!useful.has(file))
      throw new UsageError(
        `invalid --measured ${file}: it sets no constant of ${cluster.name}, whose nodes have ${cluster.devicesPerNode} devices ` +
          '(measure all devices of a node, with messages from 8 bytes to 1 GiB)',
      )
  }
  return { ...copied.cluster, device: device.device, calibration: all }
}

function splitRanks(source: string): { file: string; ranks: Ranks | null } {
  const [, nodes, perNode, file] = /^(\d+)x(\d+):(.+)$/.exec(source) ?? []
  if (file === undefined) return { file: source, ranks: null }
  const ranks = { nodes: Number(nodes), perNode: Number(perNode) }
  if (ranks.nodes * ranks.perNode < 2)
    throw new UsageError(`invalid --measured ${source}: ${nodes} × ${perNode} ranks (expected at least 2)`)
  return { file, ranks }
}

async function read(source: string, cluster: Cluster): Promise<Measurements> {
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
  const none = { collectives: [], copies: [], products: [], power: [] }
  if (text.trim() === '') throw new UsageError(`invalid --measured ${file}: the file is empty`)
  if (hasCollectives(text)) {
    const collectives = readCollectives(text, file, ranks)
    for (const run of collectives) checkRanks(cluster, run, ranks !== null)
    return { ...none, collectives }
  }
  if (ranks)
    throw new UsageError(`invalid --measured ${source}: it has no output of nccl-tests or OSU, whose ranks these are`)
  if (hasProducts(text)) return { ...none, products: readProducts(text, file) }
  if (hasCopies(text)) {
    const copies = readCopies(text, file)
    for (const { devices } of copies) checkDevices(cluster, devices, file)
    return { ...none, copies }
  }
  if (hasPower(text)) return { ...none, power: [readPower(text, file)] }
  throw new UsageError(
    `invalid --measured ${file}: expected the output of nccl-tests, OSU micro-benchmarks, nvbandwidth, mamf-finder.py or ` +
      'nvidia-smi -q -d POWER, or a table with columns m, n, k, dtype and tflops',
  )
}

/** @throws UsageError if a test saw more devices than a node has */
function checkDevices({ name, devicesPerNode }: Cluster, devices: number, file: string): void {
  if (devices > devicesPerNode)
    throw new UsageError(
      `invalid --measured ${file}: ${devices} devices, but ${name} has devicesPerNode ${devicesPerNode}`,
    )
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
    field.endsWith('.latency')
      ? shortTime(value)
      : field.endsWith('.rate')
        ? `${bytes(value)}/s`
        : field.endsWith('.powerLimit')
          ? `${significant(value)} W`
          : value.toFixed(3)
  const met = error === null ? '' : `; ${plural(times, 'time')} met within ${percent(error, 0)} (median)`
  const change = before > 0 ? ` (${signed(100 * (after / before - 1), 0)} %)` : ''
  return `${field} ${shown(before)} to ${shown(after)}${change} by ${files.join(', ')}${met}`
}
