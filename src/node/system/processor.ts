/**
 * Describes the processor of this machine. The model name is not enough: cloud machines are an "AMD EPYC Processor" for
 * Zen 4 and Zen 5 alike, and a hypervisor may hide instructions. Rounding and speed follow from the microarchitecture
 * and the instruction sets, so they are part of the description by which machines are compared.
 */
import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { cpus } from 'node:os'

/** Instruction sets of matrix and vector kernels, as Linux names them: first of x86, then of Arm. */
const instructionSets = [
  ['avx2', 'avx_vnni', 'avx512f', 'avx512_vnni', 'avx512_bf16', 'avx512_fp16', 'amx_int8', 'amx_bf16', 'amx_fp16'],
  ['asimdhp', 'asimddp', 'i8mm', 'bf16', 'sve', 'sve2', 'sme', 'sme2'],
].flat()

/**
 * Names of microarchitectures by vendor and family, then by ranges of models. Source: arch/x86/kernel/cpu/amd.c and
 * intel-family.h of Linux.
 */
const names: Readonly<Record<string, readonly (readonly [from: number, to: number, name: string])[]>> = {
  'AuthenticAMD 23': [
    [0x30, 0x4f, 'Zen 2'],
    [0x60, 0x7f, 'Zen 2'],
    [0x90, 0x91, 'Zen 2'],
    [0xa0, 0xaf, 'Zen 2'],
  ],
  'AuthenticAMD 25': [
    [0x00, 0x0f, 'Zen 3'],
    [0x20, 0x5f, 'Zen 3'],
    [0x10, 0x1f, 'Zen 4'],
    [0x60, 0xaf, 'Zen 4'],
  ],
  'AuthenticAMD 26': [
    [0x00, 0x2f, 'Zen 5'],
    [0x40, 0x4f, 'Zen 5'],
    [0x70, 0x7f, 'Zen 5'],
  ],
  'GenuineIntel 6': [
    [0x3f, 0x3f, 'Haswell'],
    [0x4f, 0x4f, 'Broadwell'],
    // Cascade Lake and Cooper Lake have the model of Skylake; only their instruction sets differ.
    [0x55, 0x55, 'Skylake, Cascade Lake or Cooper Lake'],
    [0x6a, 0x6a, 'Ice Lake'],
    [0x6c, 0x6c, 'Ice Lake'],
    [0x8f, 0x8f, 'Sapphire Rapids'],
    [0xcf, 0xcf, 'Emerald Rapids'],
    [0xad, 0xae, 'Granite Rapids'],
  ],
}

/** Names of the parts of Arm (implementer 0x41). Source: arch/arm64/include/asm/cputype.h of Linux. */
const armParts: Readonly<Record<string, string>> = {
  '0xd0c': 'Neoverse N1',
  '0xd40': 'Neoverse V1',
  '0xd49': 'Neoverse N2',
  '0xd4f': 'Neoverse V2',
  '0xd84': 'Neoverse V3',
  '0xd8e': 'Neoverse N3',
}

/** Fields of a processor; fields that the system does not report are undefined. */
interface Fields {
  readonly vendor?: string | undefined
  readonly family?: string | undefined
  readonly model?: string | undefined
  readonly stepping?: string | undefined
  readonly flags?: string | undefined
}

let described: string | undefined

/**
 * Model name, microarchitecture or its numbers, and instruction sets:
 * `AMD EPYC Processor (Zen 4, family 25 model 17 stepping 1, avx2 avx512f avx512_bf16)`. The parentheses are left out
 * where the system reports no more than the name.
 */
export function describeProcessor(): string {
  described ??= processorText(cpus()[0]?.model, process.platform, sourceOf(process.platform))
  return described
}

/** The report of the system about its processor, as {@link processorText} takes it; empty if it cannot be read. */
function sourceOf(platform: NodeJS.Platform): string {
  try {
    if (platform === 'linux') return readFileSync('/proc/cpuinfo', 'utf8')
    if (platform === 'darwin')
      return execFileSync('/usr/sbin/sysctl', ['machdep.cpu'], {
        encoding: 'utf8',
        stdio: ['ignore', 'pipe', 'ignore'],
      })
    return process.env.PROCESSOR_IDENTIFIER ?? ''
  } catch {
    return ''
  }
}

/**
 * Describes a processor from the reports about it.
 * @param name Model name as Node reports it.
 * @param source Contents of /proc/cpuinfo on Linux, output of `sysctl machdep.cpu` on macOS, otherwise the environment
 *   variable PROCESSOR_IDENTIFIER of Windows.
 */
export function processorText(name: string | undefined, platform: NodeJS.Platform, source: string): string {
  const known = name === undefined || name.trim() === '' || name === 'unknown' ? 'unknown CPU' : name.trim()
  const parts =
    platform === 'linux' ? linuxParts(source) : partsOf(platform === 'darwin' ? sysctl(source) : windows(source))
  return parts.length === 0 ? known : `${known} (${parts.join(', ')})`
}

const partsOf = ({ vendor, family, model, stepping, flags }: Fields): string[] => [
  ...(family === undefined || model === undefined
    ? []
    : [
        ...(names[`${vendor} ${family}`] ?? [])
          .filter(([from, to]) => Number(model) >= from && Number(model) <= to)
          .map(([, , found]) => found),
        `family ${family} model ${model}${stepping === undefined ? '' : ` stepping ${stepping}`}`,
      ]),
  ...instructionsIn(flags ?? ''),
]

/** The known instruction sets among the flags. macOS writes AVX512VNNI where Linux writes avx512_vnni. */
function instructionsIn(flags: string): string[] {
  const plain = (flag: string) => flag.toLowerCase().replaceAll('_', '')
  const present = new Set(flags.split(/\s+/).map(plain))
  const found = instructionSets.filter((flag) => present.has(plain(flag)))
  return found.length === 0 ? [] : [found.join(' ')]
}

/** Describes the first processor. x86 has families and models, Arm has implementers and parts. */
function linuxParts(cpuinfo: string): string[] {
  const [first = ''] = cpuinfo.split(/\n\s*\n/)
  const field = (name: string) => new RegExp(`^${name}\\s*: (.+)$`, 'm').exec(first)?.[1]?.trim()
  const [implementer, part] = [field('CPU implementer'), field('CPU part')]
  if (implementer === undefined || part === undefined)
    return partsOf({
      vendor: field('vendor_id'),
      family: field('cpu family'),
      model: field('model'),
      stepping: field('stepping'),
      flags: field('flags'),
    })
  const found = implementer === '0x41' ? armParts[part] : undefined
  return [
    ...(found === undefined ? [] : [found]),
    `implementer ${implementer} part ${part} variant ${field('CPU variant')} revision ${field('CPU revision')}`,
    ...instructionsIn(field('Features') ?? ''),
  ]
}

/** Reads the output of `sysctl`. Macs with Apple's processors have none of these fields, but a specific model name. */
function sysctl(output: string): Fields {
  const field = (name: string) => new RegExp(`^machdep\\.cpu\\.${name}: (.+)$`, 'm').exec(output)?.[1]?.trim()
  return {
    vendor: field('vendor'),
    family: field('family'),
    model: field('model'),
    stepping: field('stepping'),
    flags: `${field('features') ?? ''} ${field('leaf7_features') ?? ''}`,
  }
}

/** Reads an identifier such as `Intel64 Family 6 Model 207 Stepping 2, GenuineIntel`. */
function windows(identifier: string): Fields {
  const [, family, model, stepping, vendor] = /Family (\d+) Model (\d+) Stepping (\d+), (\S+)/.exec(identifier) ?? []
  return { vendor, family, model, stepping }
}
