/**
 * Hosts and their slots, as users write them. A slot is room for one rank.
 *
 *     --hosts a:4,b:4         [{ name: 'a', slots: 4 }, { name: 'b', slots: 4 }]
 *     --hosts a,b             [{ name: 'a' }, { name: 'b' }]
 *     a file for Open MPI     a slots=4
 *     a file for MPICH        a:4
 */
import { type Option, option, UsageError, wording } from '../../core/errors.ts'

export interface Host {
  readonly name: string
  /** Number of slots; undefined if not given. */
  readonly slots?: number
}

/** Parses the value of `--hosts`. @throws UsageError if it is malformed */
export function parseHosts(text: string): Host[] {
  const expected = 'expected names with slots, such as a:4,b:4'
  return refuseRepeated(
    text.split(',').map((entry) => {
      const host = parseHost(entry.trim())
      if (!host)
        throw new UsageError(
          wording`invalid ${option('hosts')}: ${JSON.stringify(entry)} in ${JSON.stringify(text)} (${expected})`,
        )
      return host
    }),
    option('hosts'),
  )
}

/**
 * Parses the text of a host file for Open MPI or MPICH.
 * @param file path for error messages
 * @throws UsageError if a line is malformed or there is no host
 */
export function parseHostfile(text: string, file: string): Host[] {
  const hosts = text.split('\n').flatMap((line, index) => {
    const [entry = ''] = line.split('#')
    if (entry.trim() === '') return []
    const [name = '', ...settings] = entry.trim().split(/\s+/)
    const slots = settings.map((setting) => /^slots=(\d+)$/.exec(setting)?.[1]).find((given) => given !== undefined)
    const known = settings.every((setting) => /^(max[-_])?slots=\d+$/.test(setting))
    const host = known ? parseHost(slots === undefined ? name : `${name}:${slots}`) : undefined
    if (!host)
      throw new UsageError(
        wording`invalid ${option('hostfile')}: line ${index + 1} of ${file} is ${JSON.stringify(entry.trim())} (expected "a slots=4" or "a:4")`,
      )
    return [host]
  })
  if (hosts.length === 0)
    throw new UsageError(
      wording`invalid ${option('hostfile')}: ${file} has no host (expected lines such as "a slots=4")`,
    )
  return refuseRepeated(hosts, option('hostfile'))
}

function parseHost(entry: string): Host | undefined {
  const [, name, slots] = /^([A-Za-z0-9](?:[\w.-]*[A-Za-z0-9])?)(?::([1-9]\d{0,5}))?$/.exec(entry) ?? []
  if (name === undefined) return undefined
  return slots === undefined ? { name } : { name, slots: Number(slots) }
}

function refuseRepeated(hosts: Host[], from: Option): Host[] {
  const repeated = hosts.find(({ name }, i) => hosts.findIndex((other) => other.name === name) < i)
  if (repeated)
    throw new UsageError(wording`invalid ${from}: host "${repeated.name}" twice (give it once, with all its slots)`)
  return hosts
}
