/** Loads the planned run and the cluster from names, files and assignments. */
import { formatValue, listWithOr, parseInput } from '../../../core/config/problems.ts'
import { UsageError } from '../../../core/errors.ts'
import { nearestName } from '../../../core/text/nearest.ts'
import { readFields } from '../../../node/run/load-config.ts'
import { isYamlPath, readYaml } from '../../../node/run/read-yaml.ts'
import { errorCode } from '../../../node/system/disk.ts'
import { CONFIG_BYTES, readText } from '../../../node/system/read-text.ts'
import { type Cluster, type ClusterInput, clusterSchema, type Device, precisions } from './cluster.ts'
import { clusterFamilies } from './clusters.ts'
import { planPresets } from './presets.ts'
import { type PlannedRun, plannedRunSchema } from './settings.ts'

/**
 * @param source a preset's name, or the path of a YAML or JSON file
 * @param sets assignments such as `plan.parallel.expert=64`
 * @throws UsageError listing every problem
 */
export async function loadPlannedRun(source: string, sets: readonly string[]): Promise<PlannedRun> {
  return parseInput(plannedRunSchema, await readFields(source, sets, planPresets), 'configuration')
}

/**
 * @param source `NAME-COUNT` of a known kind of device, such as `v100-480`, or the path of a YAML or JSON file
 * @throws UsageError if the source is neither, or a field is wrong
 */
export async function loadCluster(source: string): Promise<Cluster> {
  const [, name = source, count = ''] = /^(.*)-(\d+)$/.exec(source) ?? []
  const family = Object.hasOwn(clusterFamilies, name) ? clusterFamilies[name] : undefined
  const devices = Number(count)
  if (family && count !== '' && !(devices >= 1))
    throw new UsageError(`invalid cluster ${formatValue(source)} (expected at least 1 device)`)
  if (!family || count === '') {
    if (isYamlPath(source)) return parseCluster(await readCluster(source))
    const names = Object.keys(clusterFamilies)
    const near = similarNames(name, names).filter((each) => each !== name)
    throw new UsageError(
      `unknown cluster ${formatValue(source)} (expected ${listWithOr(names.map((known) => `${known}-COUNT`))}, such as v100-480, ` +
        `or a YAML or JSON file${near.length > 0 ? `; did you mean ${listWithOr(near.map((each) => `"${each}-${count || 8}"`))}?` : ''})`,
    )
  }
  const node = family.cluster.devicesPerNode ?? 8
  if (devices > node && devices % node !== 0) {
    const whole = [Math.floor(devices / node), Math.ceil(devices / node)].map((nodes) => `"${name}-${nodes * node}"`)
    throw new UsageError(
      `invalid cluster ${formatValue(source)} (the devices of several nodes must be a multiple of devicesPerNode ${node}; did you mean ${listWithOr(whole)}?)`,
    )
  }
  return clusterOf(name, devices)
}

/** The known names that a name contains, such as `h100` in `h100-sxm`, and the nearest one; at most three. */
function similarNames(name: string, known: readonly string[]): string[] {
  const nearest = nearestName(name, known)
  const contained = known.filter((each) => name.toLowerCase().includes(each))
  return [...new Set([...(nearest === undefined ? [] : [nearest]), ...contained])].slice(0, 3)
}

/**
 * A cluster from its fields. With `extends: h100`, fields that are not given come from that kind of device.
 * @throws UsageError listing every wrong field
 */
export function parseCluster(fields: unknown): Cluster {
  if (!isFields(fields) || fields.extends === undefined) return parseInput(clusterSchema, fields, 'cluster')
  const { extends: name, ...own } = fields
  const family = typeof name === 'string' && Object.hasOwn(clusterFamilies, name) ? clusterFamilies[name] : undefined
  if (!family)
    throw new UsageError(
      `invalid extends: ${formatValue(name)} (expected ${listWithOr(Object.keys(clusterFamilies))}, whose fields the file then overrides)`,
    )
  const cluster = parseInput(clusterSchema, merged(family.cluster, own), 'cluster')
  const { device: known } = parseInput(clusterSchema, { ...family.cluster, devices: 1 }, 'cluster')
  return { ...cluster, device: { ...cluster.device, constants: constantsOf(cluster.device, known, own) } }
}

/**
 * The source of the efficiencies of a device that extends a known one. They were fitted to the known device, which a
 * file with more memory or other links still describes. A file with another name, peak or bandwidth describes another
 * device, on which nothing was measured.
 */
function constantsOf(device: Device, known: Device, own: Record<string, unknown>): Device['constants'] {
  const given = isFields(own.device) ? own.device : {}
  if (given.constants !== undefined) return device.constants
  if (isFields(given.matmul) && given.matmul.efficiency !== undefined) return 'given'
  if (known.constants !== 'fitted') return known.constants
  // Rounded, since 3.35 TB/s and 3350 GB/s may differ in their last bits.
  const traits = ({ name, peak, bandwidth }: Device) =>
    [
      name,
      ...[bandwidth, ...precisions.map((precision) => peak[precision] ?? 0)].map((rate) => rate.toPrecision(9)),
    ].join()
  return traits(device) === traits(known) ? 'fitted' : 'borrowed'
}

const isFields = (value: unknown): value is Record<string, unknown> =>
  value !== null && typeof value === 'object' && !Array.isArray(value)

/** The fields of both objects; where both have a field, `over` wins. */
function merged(base: object, over: object): object {
  const result: Record<string, unknown> = { ...base }
  for (const [field, value] of Object.entries(over)) {
    const below = result[field]
    result[field] = isFields(below) && isFields(value) ? merged(below, value) : value
  }
  return result
}

/** @param family a name of `clusterFamilies` */
export function clusterOf(family: string, devices: number, overrides: Partial<ClusterInput> = {}): Cluster {
  const found = clusterFamilies[family]
  if (!found) throw new Error(`internal: no cluster family ${family}`)
  return parseInput(clusterSchema, { ...found.cluster, name: `${family}-${devices}`, devices, ...overrides }, 'cluster')
}

async function readCluster(file: string): Promise<unknown> {
  let text: string
  try {
    text = await readText(file, CONFIG_BYTES)
  } catch (error) {
    const code = errorCode(error)
    if (code === 'ENOENT' || code === 'ENOTDIR')
      throw new UsageError(`no such file: ${formatValue(file)} (expected a YAML or JSON file with a cluster)`)
    throw new UsageError(`cannot read cluster ${formatValue(file)}: ${(error as Error).message}`)
  }
  const content = readYaml(text, file, 'cannot read cluster')
  if (content === null || typeof content !== 'object' || Array.isArray(content))
    throw new UsageError(
      `invalid cluster ${file}: ${formatValue(content)} (expected fields such as devices: and device:)`,
    )
  return content
}
