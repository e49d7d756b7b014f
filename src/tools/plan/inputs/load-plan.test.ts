import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { UsageError } from '../../../core/errors.ts'
import { plan } from '../plan.ts'
import { clusterFamilies } from './clusters.ts'
import { intervalFactors } from './fitted.ts'
import { clusterOf, loadCluster, loadPlannedRun } from './load-plan.ts'
import { planPresets } from './presets.ts'

let folder: string
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'choir-plan-'))
})
afterAll(() => rmSync(folder, { recursive: true, force: true }))

let files = 0
function file(content: string | Uint8Array, extension = 'yaml'): string {
  const path = join(folder, `file-${files++}.${extension}`)
  writeFileSync(path, content)
  return path
}

const valid = `
devices: 16
device:
  memory: 32 GiB
  bandwidth: 900 GB/s
  peak: { float32: 15.7 TFLOP/s, float16: 125 TFLOP/s }
links:
  node: { bandwidth: 150 GB/s }
  network: { bandwidth: 100 Gb/s }
`

describe('a cluster', () => {
  test('by name has that name and number of devices', async () => {
    const cluster = await loadCluster('v100-480')
    expect(cluster).toMatchObject({ name: 'v100-480', devices: 480, devicesPerNode: 8 })
    expect(cluster.device.memory).toBe(32 * 1024 ** 3)
  })

  // Columns from data sheets: peaks, bandwidth of memory, NVLink in one direction, ports of a node in bytes.
  test.each([
    ['v100-8', { float32: 15.7e12, float16: 125e12 }, 900e9, 150e9, 4 * 12.5e9],
    ['a100-8', { bfloat16: 312e12 }, 2.039e12, 300e9, 8 * 25e9],
    ['h100-8', { bfloat16: 989e12 }, 3.35e12, 450e9, 8 * 50e9],
    ['tpu-v3-8', { bfloat16: 61.5e12 }, undefined, undefined, undefined],
  ])('%s agrees with its data sheet', async (name, peak, bandwidth, node, network) => {
    const { device, links } = await loadCluster(name)
    expect(device.peak).toMatchObject(peak)
    // The A100's bandwidth is rounded: its sheets give "over 2 TB/s" and 2,039 GB/s.
    if (bandwidth) expect(Math.abs(device.bandwidth / bandwidth - 1)).toBeLessThan(0.025)
    if (node) expect(links.node.bandwidth).toBe(node)
    if (network) expect(links.network.bandwidth).toBe(network)
  })

  test('of every known family is valid', async () => {
    for (const name of Object.keys(clusterFamilies)) expect((await loadCluster(`${name}-16`)).devices).toBe(16)
  })

  test('smaller than a node, or of whole nodes, is accepted', async () => {
    for (const devices of [1, 3, 8, 24]) expect((await loadCluster(`a100-${devices}`)).devices).toBe(devices)
  })

  test('from a file is read with its units', async () => {
    const { device, links } = await loadCluster(file(valid))
    expect(device).toMatchObject({ memory: 32 * 1024 ** 3, bandwidth: 9e11, peak: { float16: 1.25e14 } })
    expect(links.network.bandwidth).toBe(12.5e9)
    expect(links.host).toBeUndefined()
  })

  test('from a JSON file is read', async () => {
    const device = { memory: '1 GB', bandwidth: '1 GB/s', peak: { float32: '1 TFLOP/s' } }
    const links = { node: { bandwidth: '1 GB/s' }, network: { bandwidth: '1 GB/s' } }
    expect((await loadCluster(file(JSON.stringify({ devices: 2, device, links }), 'json'))).devices).toBe(2)
  })
})

describe('an invalid cluster is refused with its name or field', () => {
  const refused = async (source: string): Promise<string> => {
    const error = await loadCluster(source).catch((each: unknown) => each)
    expect(error).toBeInstanceOf(UsageError)
    return (error as Error).message
  }

  test.each([
    ['v100', 'unknown cluster "v100"'],
    ['v10-8', 'did you mean "v100-8"?'],
    ['v100-0', 'invalid cluster "v100-0" (expected at least 1 device)'],
    ['v100--8', '"v100--8"'],
    ['', 'unknown cluster ""'],
    ['v100-12', 'must be a multiple of devicesPerNode 8; did you mean "v100-8" or "v100-16"?'],
    // A GB200 rack has 72 devices.
    ['gb200-256', 'must be a multiple of devicesPerNode 72; did you mean "gb200-216" or "gb200-288"?'],
    ['gb300-144', 'did you mean "gb200-144"?'],
    ['nvidia-h100-sxm-64', 'did you mean "h100-64"?'],
    ['a100-80gb-16', 'did you mean "a100-40gb-16" or "a100-16"?'],
    ['toString-8', 'unknown cluster "toString-8"'],
    // A file needs no ending.
    ['LICENSE', 'cluster LICENSE'],
  ])('%j', async (source, message) => {
    expect(await refused(source)).toContain(message)
  })

  test.each([
    ['an unknown field', `${valid}\nspeed: 3`, 'unknown field speed: 3 (accepted: name, devices'],
    ['an unknown field below', valid.replace('memory:', 'memroy: 3\n  memory:'), 'did you mean "device.memory"?'],
    ['a missing field', valid.replace('bandwidth: 900 GB/s', ''), 'invalid device.bandwidth: nothing'],
    ['missing links', valid.slice(0, valid.indexOf('links')), 'invalid links: nothing'],
    [
      'zero bandwidth',
      valid.replace('900 GB/s', '0 GB/s'),
      'invalid device.bandwidth: "0 GB/s" (expected more than zero',
    ],
    ['zero bandwidth of a link', valid.replace('100 Gb/s', '0 Gb/s'), 'invalid links.network.bandwidth: "0 Gb/s"'],
    [
      'memory without a unit',
      valid.replace('32 GiB', '32'),
      'invalid device.memory: 32 (expected more than zero, with a',
    ],
    [
      'a rate without a unit',
      valid.replace('150 GB/s', '150'),
      'invalid links.node.bandwidth: 150 (expected more than',
    ],
    ['a peak without a unit', valid.replace('15.7 TFLOP/s', '15.7'), 'invalid device.peak.float32: 15.7 (expected'],
    [
      'a time without a unit',
      valid.replace('GB/s }', 'GB/s, latency: 5 }'),
      'invalid links.node.latency: 5 (expected zero',
    ],
    ['negative memory', valid.replace('32 GiB', '-32 GiB'), 'invalid device.memory: "-32 GiB"'],
    ['an unknown unit', valid.replace('32 GiB', '32 Gigs'), 'invalid device.memory: "32 Gigs"'],
    ['no devices', valid.replace('devices: 16', 'devices: 0'), 'invalid devices: 0 (expected a positive integer)'],
    ['half a device', valid.replace('devices: 16', 'devices: 1.5'), 'invalid devices: 1.5'],
    ['half a node', valid.replace('devices: 16', 'devices: 12'), 'must be a multiple of devicesPerNode 8'],
    ['an efficiency above 1', valid.replace('GB/s }', 'GB/s, efficiency: 2 }'), 'invalid links.node.efficiency: 2'],
    ['nothing', '', 'null (expected fields such as devices: and device:)'],
    ['a list', '- 1', 'expected fields such as devices: and device:'],
    ['text', 'a cluster', 'expected fields such as devices: and device:'],
    ['broken YAML', 'devices: [1', 'cannot read cluster'],
    ['zero bytes', 'devices: 8\0', 'it is a binary file'],
  ])('a file with %s', async (_, content, message) => {
    expect(await refused(file(content))).toContain(message)
  })

  test('if the file is binary', async () => {
    expect(await refused(file(Uint8Array.of(0x7f, 0x45, 0x4c, 0x46, 0, 0, 0xff, 0xfe)))).toContain('binary file')
  })

  test('if the path does not exist, or is a folder', async () => {
    expect(await refused(join(folder, 'nowhere.yaml'))).toMatch(/^no such file: ".*nowhere\.yaml"/)
    expect(await refused(`${folder}/`)).toMatch(/^cannot read cluster .*it is a folder/)
  })

  test('if there are several problems, which are all listed', async () => {
    const message = await refused(file(valid.replace('900 GB/s', '0 GB/s').replace('devices: 16', 'devices: x')))
    expect(message).toContain('invalid devices: "x"')
    expect(message).toContain('invalid device.bandwidth')
  })
})

describe('a run to plan', () => {
  test('of every preset is valid', async () => {
    for (const name of Object.keys(planPresets))
      expect((await loadPlannedRun(name, [])).model.layers).toBeGreaterThan(0)
  })

  test('is a run with the section plan', async () => {
    const source = file('model: { layers: 6 }\nplan: { zero: 1, parallel: { expert: 4 } }')
    const { model, plan } = await loadPlannedRun(source, ['plan.recompute=full'])
    expect(model.layers).toBe(6)
    expect(plan).toMatchObject({ zero: 1, recompute: 'full', parallel: { expert: 4, data: null } })
  })

  test.each([
    ['plan.zeor=1', 'unknown field plan.zeor: 1'],
    ['plan.zero=4', 'invalid plan.zero: 4 (expected an integer from 0 to 3 or null)'],
    ['plan.precision=fp8', 'invalid plan.precision: "fp8"'],
    ['plan.overlap=2', 'invalid plan.overlap: 2'],
    ['plan.tensorOverlap=-1', 'invalid plan.tensorOverlap: -1'],
    ['plan.gradients=none', 'invalid plan.gradients: "none"'],
    ['plan.load.cv=-1', 'invalid plan.load.cv: -1'],
    ['plan.parallel.expert=0', 'invalid plan.parallel.expert: 0'],
    ['plan.microBatches=1.5', 'invalid plan.microBatches: 1.5'],
    ['plan.tokens=0', 'invalid plan.tokens: 0'],
    ['plan.tokens=15X', 'invalid plan.tokens: "15X" (expected a number of tokens, with k, M, B or T'],
    ['plan.fitsWith=1', 'invalid plan.fitsWith: 1 (expected a probability from 0.001 to 0.999'],
    ['plan.fitsWith=90', 'invalid plan.fitsWith: 90 (expected a probability from 0.001 to 0.999, such as 0.9 or 90%'],
    ['model.moe.prototypes=3', 'must be 1 unless router is "prototype"'],
  ])('with %s is refused', async (set, message) => {
    const error = await loadPlannedRun('tiny', [set]).catch((each: unknown) => each)
    expect(error).toBeInstanceOf(UsageError)
    expect((error as Error).message).toContain(message)
  })

  test.each([
    ['1.5M', 1.5e6],
    ['300B', 300e9],
    ['15T', 15e12],
    ['1e12', 1e12],
    ['null', null],
  ])('has %s tokens', async (text, tokens) => {
    expect((await loadPlannedRun('tiny', [`plan.tokens=${text}`])).plan.tokens).toBe(tokens)
  })

  test('has to fit with a probability, as a number or in percent', async () => {
    const fitsWith = async (...sets: string[]) => (await loadPlannedRun('tiny', sets)).plan.fitsWith
    expect([await fitsWith(), await fitsWith('plan.fitsWith=0.9'), await fitsWith('plan.fitsWith=90%')]).toEqual([
      0.5, 0.9, 0.9,
    ])
  })

  test('of an unknown name is refused with the known names', async () => {
    await expect(loadPlannedRun('m6t-1tt', [])).rejects.toThrow('m6t-1t')
  })
})

describe('a cluster file that extends a known kind of device', () => {
  const load = (content: string) => loadCluster(file(content))

  test('has the fields of that kind, except the fields that it gives', async () => {
    const own = await load(
      'extends: h100\ndevices: 64\ndevice: { memory: 96 GB }\nlinks: { network: { bandwidth: 200 GB/s } }',
    )
    const h100 = clusterOf('h100', 64)
    expect(own.device).toEqual({ ...h100.device, memory: 96e9 })
    expect(own.links.network).toEqual({ ...h100.links.network, bandwidth: 200e9 })
    expect(own.links.node).toEqual(h100.links.node)
    expect(own.device.constants).toBe('fitted')
  })

  const mi300x = `extends: h100
devices: 8
device: { name: MI300X, memory: 192 GB, bandwidth: 5.3 TB/s, peak: { bfloat16: 1307 TFLOP/s } }`

  // Nothing was measured on an MI300X, although it has fields of an H100.
  test('has borrowed efficiencies, a warning and the wide interval if it is another device', async () => {
    const run = await loadPlannedRun('demo', [])
    const borrowed = await plan(run, await load(mi300x))
    expect(borrowed.cluster.device.constants).toBe('borrowed')
    expect(borrowed.cluster.device.matmul).toEqual(clusterOf('h100', 8).device.matmul)
    expect(borrowed.warnings.join()).toMatch(/^the efficiencies of MI300X are those of the device/)
    const { megatron } = intervalFactors
    expect(borrowed.best[0]?.interval?.time).toBe(megatron.stepTimeUnfitted)
    const known = await plan(run, clusterOf('h100', 8))
    expect(known.warnings).toEqual([])
    expect(known.best[0]?.interval?.time).toBe(megatron.stepTime)
    expect(megatron.stepTimeUnfitted).toBeGreaterThan(megatron.stepTime)
  })

  test.each([
    ['another name', 'name: H100-PCIe', 'borrowed'],
    ['another bandwidth', 'bandwidth: 2 TB/s', 'borrowed'],
    ['another peak', 'peak: { bfloat16: 756 TFLOP/s }', 'borrowed'],
    ['a measured efficiency', 'name: H100-PCIe, matmul: { efficiency: 0.6 }', 'given'],
    ['more memory', 'memory: 96 GB', 'fitted'],
    ['the same bandwidth in other units', 'bandwidth: 3.35 TB/s', 'fitted'],
  ])('with %s has efficiencies of the right source', async (_, device, constants) => {
    expect((await load(`extends: h100\ndevices: 8\ndevice: { ${device} }`)).device.constants).toBe(constants)
  })

  test('has the efficiencies of an average device if none were fitted to its kind', async () => {
    expect((await load('extends: tpu-v3\ndevices: 8\ndevice: { name: ours }')).device.constants).toBe('unfitted')
  })

  test('is refused if the kind is unknown', async () => {
    const error = await load('extends: h1000\ndevices: 8').catch((each: unknown) => each)
    expect(error).toBeInstanceOf(UsageError)
    expect((error as Error).message).toMatch(/^invalid extends: "h1000" \(expected v100, .* or tpu-v3, whose fields/)
  })
})

describe('the efficiencies of a device', () => {
  test('are unfitted if the file has figures of a data sheet alone, and given if it has an efficiency', async () => {
    const constants = async (content: string) => (await loadCluster(file(content))).device.constants
    expect(await constants(valid)).toBe('unfitted')
    const given = valid.replace('bandwidth: 900 GB/s', 'bandwidth: 900 GB/s\n  matmul: { efficiency: 0.6 }')
    expect(await constants(given)).toBe('given')
  })

  test('are warned about in the plan, which has a wider interval', async () => {
    const run = await loadPlannedRun('demo', ['plan.precision=float32'])
    const planned = await plan(run, await loadCluster(file(valid)))
    expect(planned.warnings.join()).toContain('efficiencies of')
    expect(planned.warnings.join()).toContain('set extends to a similar device')
    const fitted = await plan(run, clusterOf('v100', 16))
    expect(fitted.warnings).toEqual([])
    expect(planned.best[0]?.interval?.time).toBeGreaterThan(fitted.best[0]?.interval?.time as number)
  })
})
