/** Descriptions of processors from what Linux, macOS and Windows report about real ones. */
import { readFileSync } from 'node:fs'
import { cpus } from 'node:os'
import { expect, test } from 'vitest'
import { describeProcessor, processorText } from './processor.ts'

/** /proc/cpuinfo of two processors. */
const cpuinfo = (vendor: string, family: number, model: number, flags: string) =>
  [0, 1]
    .map(
      (processor) =>
        `processor\t: ${processor}\nvendor_id\t: ${vendor}\ncpu family\t: ${family}\nmodel\t\t: ${model}\n` +
        `model name\t: A name\nstepping\t: 1\nflags\t\t: ${flags}\nbugs\t\t: amx_bf16\n`,
    )
    .join('\n')
const amd = (family: number, model: number, flags = 'fpu avx2 avx512f avx512_bf16') =>
  processorText('AMD EPYC Processor', 'linux', cpuinfo('AuthenticAMD', family, model, flags))
const intel = (model: number, flags = 'fpu avx2') =>
  processorText('Intel(R) Xeon(R) Processor', 'linux', cpuinfo('GenuineIntel', 6, model, flags))

test('processors of one model name differ by their generation', () => {
  expect(amd(25, 17)).toBe('AMD EPYC Processor (Zen 4, family 25 model 17 stepping 1, avx2 avx512f avx512_bf16)')
  expect(amd(26, 2)).toBe('AMD EPYC Processor (Zen 5, family 26 model 2 stepping 1, avx2 avx512f avx512_bf16)')
  expect(intel(143)).toBe('Intel(R) Xeon(R) Processor (Sapphire Rapids, family 6 model 143 stepping 1, avx2)')
  expect(intel(207)).toBe('Intel(R) Xeon(R) Processor (Emerald Rapids, family 6 model 207 stepping 1, avx2)')
})

test.each([
  // EPYC 7002 (Rome), 7003 (Milan), 9004 (Genoa, Bergamo) and 9005 (Turin); Ryzen 5000, 7000 and 9000.
  [23, 0x31, 'Zen 2'],
  [25, 0x01, 'Zen 3'],
  [25, 0x21, 'Zen 3'],
  [25, 0x11, 'Zen 4'],
  [25, 0x61, 'Zen 4'],
  [25, 0xa0, 'Zen 4'],
  [26, 0x02, 'Zen 5'],
  [26, 0x11, 'Zen 5'],
  [26, 0x44, 'Zen 5'],
])('AMD family %d, model %d is %s', (family, model, name) => {
  expect(amd(family, model)).toContain(`(${name}, family ${family} model ${model} `)
})

test('an unknown model has its numbers and no name', () => {
  expect(amd(26, 0x99)).toBe('AMD EPYC Processor (family 26 model 153 stepping 1, avx2 avx512f avx512_bf16)')
  expect(amd(27, 1)).toMatch(/\(family 27 model 1 /)
  // The families of one vendor mean nothing for another vendor.
  expect(processorText('Hygon', 'linux', cpuinfo('HygonGenuine', 25, 17, 'avx2'))).toBe(
    'Hygon (family 25 model 17 stepping 1, avx2)',
  )
})

test('a processor whose instruction sets a hypervisor hides has another description', () => {
  const sets = 'avx2 avx512f avx512_vnni avx512_bf16 amx_int8 amx_bf16'
  expect(intel(207, `fpu sse2 amx_tile amx_bf16 amx_int8 avx512_bf16 avx512_vnni avx512f avx2`)).toContain(`, ${sets})`)
  expect(intel(207, 'fpu avx2 avx512f avx512_vnni')).toContain(', avx2 avx512f avx512_vnni)')
})

test('an Arm processor has the name of its part and its instruction sets', () => {
  const arm = (implementer: string, part: string) =>
    `processor\t: 0\nBogoMIPS\t: 2100.00\nFeatures\t: fp asimd atomics asimdhp asimddp sve i8mm bf16 sve2\n` +
    `CPU implementer\t: ${implementer}\nCPU architecture: 8\nCPU variant\t: 0x0\nCPU part\t: ${part}\nCPU revision\t: 1\n`
  const rest = 'variant 0x0 revision 1, asimdhp asimddp i8mm bf16 sve sve2)'
  expect(processorText('unknown', 'linux', arm('0x41', '0xd4f'))).toBe(
    `unknown CPU (Neoverse V2, implementer 0x41 part 0xd4f ${rest}`,
  )
  expect(processorText('unknown', 'linux', arm('0x61', '0xd4f'))).toBe(
    `unknown CPU (implementer 0x61 part 0xd4f ${rest}`,
  )
})

test('on macOS and Windows the description has only what the system reports', () => {
  const mac = [
    'machdep.cpu.vendor: GenuineIntel',
    'machdep.cpu.family: 6',
    'machdep.cpu.model: 85',
    'machdep.cpu.extmodel: 5',
    'machdep.cpu.stepping: 4',
    'machdep.cpu.features: FPU SSE2 AVX1.0',
    'machdep.cpu.leaf7_features: BMI1 AVX2 AVX512F AVX512VNNI',
  ].join('\n')
  expect(processorText('Intel(R) Xeon(R) W-2150B', 'darwin', mac)).toBe(
    'Intel(R) Xeon(R) W-2150B (Skylake, Cascade Lake or Cooper Lake, family 6 model 85 stepping 4, avx2 avx512f avx512_vnni)',
  )
  expect(processorText('Apple M2', 'darwin', 'machdep.cpu.brand_string: Apple M2\nmachdep.cpu.core_count: 8\n')).toBe(
    'Apple M2',
  )
  const text = processorText('AMD Ryzen', 'win32', 'AMD64 Family 25 Model 97 Stepping 2, AuthenticAMD')
  expect(text).toBe('AMD Ryzen (Zen 4, family 25 model 97 stepping 2)')
  expect(processorText('Snapdragon', 'win32', 'ARMv8 (64-bit) Family 8 Model 1 Revision 201, Qualcomm')).toBe(
    'Snapdragon',
  )
})

test('without any report the description is the name alone, or says that the CPU is unknown', () => {
  expect(processorText('A name ', 'linux', '')).toBe('A name')
  expect(processorText(undefined, 'freebsd', '')).toBe('unknown CPU')
})

test('this processor is described in one line without a semicolon, which separates machines in records', () => {
  const text = describeProcessor()
  expect(text).toMatch(/^[^;\n]+$/)
  expect(text.startsWith(cpus()[0]?.model.trim() || 'unknown CPU')).toBe(true)
  // The numbers are read from Linux's file by independent code.
  if (process.platform !== 'linux' || process.arch !== 'x64') return
  const info = readFileSync('/proc/cpuinfo', 'utf8')
  const number = (name: string) =>
    info
      .split('\n')
      .find((line) => line.split(':')[0]?.trim() === name)
      ?.split(': ')[1]
  expect(text).toContain(`family ${number('cpu family')} model ${number('model')} stepping ${number('stepping')}`)
})
