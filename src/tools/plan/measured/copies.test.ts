/** Copies measured by nvbandwidth set the link to the host, and the link inside a node. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { loadCluster, parseCluster } from '../inputs/load-plan.ts'
import * as outputs from '../testing/measured-outputs.ts'
import { calibrated } from './calibrate.ts'
import { COLLECTIVES_OF_COPIES } from './copied-links.ts'

let folder: string
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'choir-copies-'))
})
afterAll(() => rmSync(folder, { recursive: true, force: true }))

function file(text: string | Uint8Array, name = 'nvbandwidth.txt'): string {
  const path = join(folder, name)
  writeFileSync(path, text)
  return path
}

const { nvbandwidth, nvbandwidthCase, nvbandwidthJson } = outputs
const pairs = (rate: number) => [
  [null, rate],
  [rate, null],
]

test.each([
  ['', nvbandwidth],
  [', in a log of srun -l', nvbandwidth.replace(/^/gm, '0: ')],
  [', with zeros on the diagonal as in older versions', nvbandwidth.replaceAll(' N/A', '0.00')],
])('the README of nvbandwidth%s: medians of the host and of pairs', async (_, text) => {
  const cluster = await loadCluster('a100-16')
  const { links, calibration } = await calibrated(cluster, [file(text)])
  // The middle of 25.94 25.95 25.97 25.97 26.00 26.00 26.03 26.19.
  expect((links.host?.bandwidth ?? 0) * (links.host?.efficiency ?? 0)).toBeCloseTo(25.985e9, 0)
  expect(links.node.bandwidth * links.node.efficiency).toBeCloseTo(276.3e9 * COLLECTIVES_OF_COPIES, -9)
  // Within one per cent of the rate that nccl-tests have on this device.
  expect((links.node.bandwidth * links.node.efficiency) / 235e9).toBeCloseTo(1, 2)
  expect(calibration?.map(({ field, before }) => [field, before])).toEqual([
    ['links.host.rate', (cluster.links.host?.bandwidth ?? 0) * (cluster.links.host?.efficiency ?? 0)],
    ['links.node.rate', cluster.links.node.bandwidth * cluster.links.node.efficiency],
  ])
})

test('JSON: the slower direction counts, all devices at once before one by one, and the engine before kernels', async () => {
  const text = nvbandwidthJson([
    nvbandwidthCase('host_to_device_memcpy_ce', [[50, 52]]),
    nvbandwidthCase('host_to_device_memcpy_sm', [[10, 10]]),
    nvbandwidthCase('device_to_host_memcpy_ce', [[55, 55]]),
    nvbandwidthCase('all_to_host_memcpy_ce', [[30, 32]]),
    { name: 'multinode_device_to_device_memcpy_read_ce', status: 'Waived' },
    nvbandwidthCase('device_to_device_memcpy_read_sm', pairs(80)),
    nvbandwidthCase('device_to_device_memcpy_write_sm', pairs(100)),
  ])
  const cluster = parseCluster({ extends: 'a100', devices: 2, devicesPerNode: 2 })
  const { links } = await calibrated(cluster, [file(`srun: job 7 queued\n${text}\n`)])
  expect(links.host?.bandwidth).toBe(31e9)
  expect(links.node.bandwidth).toBeCloseTo(100e9 * COLLECTIVES_OF_COPIES, 0)
})

test('a rate by collectives is not replaced by copies, whatever the order', async () => {
  const sources = [file(nvbandwidth), file(outputs.ncclNode, 'all_reduce_perf.txt')]
  const { calibration = [] } = await calibrated(await loadCluster('h100-8'), sources)
  expect(calibration.map(({ field, files }) => [field, files.length, files[0]])).toEqual([
    ['links.node.rate', 1, sources[1]],
    ['links.host.rate', 1, sources[0]],
  ])
})

test.each<[string, string, RegExp]>([
  [
    'no useful test',
    nvbandwidthJson([{ name: 'device_local_copy', status: 'Passed' }]),
    /no bandwidth of host_to_device/,
  ],
  ['waived tests only', nvbandwidthJson([{ name: 'host_to_device_memcpy_ce', status: 'Waived' }]), /no bandwidth of/],
  ['an error', '{"nvbandwidth": {"error": "no CUDA device"}}', /nvbandwidth ran no test: no CUDA device/],
  ['half a file', nvbandwidthJson([nvbandwidthCase('host_to_device_memcpy_ce', [[50]])]).slice(0, -20), /not whole/],
  [
    'more devices than a node',
    nvbandwidthJson([nvbandwidthCase('host_to_device_memcpy_ce', [Array(9).fill(1)])]),
    /9 devices, but a100-8/,
  ],
  ['a word', nvbandwidth.replace('276.62', 'hello!'), /row 3 of device_to_device_memcpy_write_ce: hello! \(expected/],
  [
    'a short row',
    nvbandwidth.replace(/^ 5 .*$/m, ' 5    276.17'),
    /row 5 of device_to_device_memcpy_write_ce has 1 of 8/,
  ],
])('%s is refused', async (_, text, message) => {
  await expect(calibrated(await loadCluster('a100-8'), [file(text)])).rejects.toThrow(message)
})
