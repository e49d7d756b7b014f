/**
 * Counts the cores that this process may use. One thread of a matrix kernel fills the vector units of a core, so
 * hyper-threads of a core only take turns: one thread per physical core is fastest.
 */
import { readFileSync } from 'node:fs'
import { availableParallelism } from 'node:os'

/** Number of physical cores available to this process, at least 1. */
export function physicalCores(): number {
  const logical = availableParallelism()
  if (process.platform === 'linux') {
    const cores = countCores(read('/proc/cpuinfo'), read('/proc/self/status'))
    return Math.max(1, Math.min(cores ?? logical, logical, cpuQuota(read('/sys/fs/cgroup/cpu.max'))))
  }
  // Only x64 has hyper-threads, nearly always two per core; macOS and Windows report only the total.
  return process.arch === 'x64' ? Math.max(1, Math.ceil(logical / 2)) : logical
}

function read(path: string): string {
  try {
    return readFileSync(path, 'utf8')
  } catch {
    return ''
  }
}

/**
 * Number of distinct (package, core) pairs among the allowed processors; undefined if the system does not list them.
 */
export function countCores(cpuinfo: string, status: string): number | undefined {
  const allowed = allowedProcessors(status)
  const cores = new Set<string>()
  for (const block of cpuinfo.split(/\n\s*\n/)) {
    const field = (name: string) => new RegExp(`^${name}\\s*: (\\d+)`, 'm').exec(block)?.[1]
    const core = field('core id')
    if (core !== undefined && allowed(Number(field('processor')))) cores.add(`${field('physical id')}/${core}`)
  }
  return cores.size === 0 ? undefined : cores.size
}

function allowedProcessors(status: string): (processor: number) => boolean {
  const list = /^Cpus_allowed_list:\s*(\S+)/m.exec(status)?.[1]
  if (list === undefined) return () => true
  const ranges = list.split(',').map((range) => range.split('-').map(Number))
  return (processor) => ranges.some(([first = 0, last = first]) => processor >= first && processor <= last)
}

/** The CPU quota of the container in processors, rounded up. `cpu.max` is `quota period` or `max period`. */
export function cpuQuota(cpuMax: string): number {
  const [quota, period] = cpuMax.trim().split(' ').map(Number)
  return quota !== undefined && period !== undefined && quota > 0 ? Math.ceil(quota / period) : Number.POSITIVE_INFINITY
}
