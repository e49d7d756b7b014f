import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { loadCluster, parseCluster } from '../inputs/load-plan.ts'
import { idealCluster } from '../testing/cases.ts'
import * as outputs from '../testing/measured-outputs.ts'
import { calibrated, calibratedText } from './calibrate.ts'
import { readCollectives } from './collectives.ts'

let folder: string
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'choir-measured-'))
})
afterAll(() => rmSync(folder, { recursive: true, force: true }))

function file(text: string | Uint8Array, name = 'output.txt'): string {
  const path = join(folder, name)
  writeFileSync(path, text)
  return path
}

/** The output of a test of nccl-tests with the given sizes and microseconds. */
function nccl(name: string, hosts: readonly string[], rows: readonly (readonly [bytes: number, us: number])[]): string {
  const ranks = hosts.map(
    (host, rank) => `#  Rank  ${rank} Group  0 Pid   ${rank} on ${host} device  0 [0x18] NVIDIA H100 80GB HBM3`,
  )
  return [
    `# Collective test starting: ${name}`,
    '# nThread 1 nGpus 1 minBytes 8 maxBytes 8589934592',
    ...ranks,
    '#       size         count      type   redop    root     time   algbw   busbw  #wrong     time   algbw   busbw  #wrong',
    ...rows.map(([bytes, us]) => `${bytes} ${bytes / 4} float sum -1 ${us} 0.00 0.00 0 1.00 0.00 0.00 0`),
  ].join('\n')
}

const node = (host: string, ranks = 8) => Array.from({ length: ranks }, () => host)
const two = [...node('a'), ...node('b')]

describe('rates and latencies by hand', () => {
  test('a node: 2 · (7/8 · S / 400 GB/s + 7 · 2 µs) for two sizes', async () => {
    // 1 GB: 2 · (2187.5 + 14) µs; 1,024 B: 2 · (0.00224 + 14) µs.
    const source = file(
      nccl('all_reduce_perf', node('a'), [
        [1e9, 4403],
        [1024, 28.00448],
      ]),
      'a.txt',
    )
    const { links, calibration } = await calibrated(await loadCluster('h100-16'), [source])
    expect(links.node.bandwidth * links.node.efficiency).toBeCloseTo(400e9, -6)
    expect(links.node.latency).toBeCloseTo(2e-6, 10)
    expect(links.network).toEqual((await loadCluster('h100-16')).links.network)
    expect(calibration?.map(({ field, error }) => [field, error < 1e-6])).toEqual([
      ['links.node.latency', true],
      ['links.node.rate', true],
    ])
  })

  test('two nodes: 2 · (1/2 · S/8 / (160 GB/s / 8) + 1 · 10 µs), with free links inside', async () => {
    // 8 GB: 2 · (25,000 + 10) µs. Inside a node it would be 2 · 7,000 µs.
    const cluster = idealCluster(64)
    const fast = { ...cluster, links: { ...cluster.links, node: { ...cluster.links.node, bandwidth: 1e12 } } }
    const source = file(
      nccl('all_reduce_perf', two, [
        [8e9, 50_020],
        [1024, 20.0064],
      ]),
      'b.txt',
    )
    const { links } = await calibrated(fast, [source])
    expect(links.network.bandwidth * links.network.efficiency).toBeCloseTo(160e9, -6)
    expect(links.network.latency).toBeCloseTo(10e-6, 10)
    expect(links.node).toEqual(fast.links.node)
  })

  test('an all-to-all of a node: 7/8 · S / (100 GB/s · share)', async () => {
    // 1 GB at 80 GB/s is 10,937.5 µs.
    const source = file(
      nccl('alltoall_perf', node('a'), [
        [1e9, 10_937.5],
        [2e9, 21_875],
      ]),
      'c.txt',
    )
    const { links, dispatchEfficiency } = await calibrated(idealCluster(8), [source])
    expect(dispatchEfficiency).toBeCloseTo(0.8, 9)
    expect(links).toEqual(idealCluster(8).links)
  })

  test('oversubscription stays what the file of the cluster says, and the measured rate contains it', async () => {
    const cluster = idealCluster(64)
    const network = { ...cluster.links.network, oversubscription: 2 }
    const source = file(
      nccl('all_reduce_perf', two, [
        [8e9, 50_000],
        [4e9, 25_000],
      ]),
      'd.txt',
    )
    const { links } = await calibrated({ ...cluster, links: { ...cluster.links, network } }, [source])
    expect(links.network.oversubscription).toBe(2)
    expect((links.network.bandwidth * links.network.efficiency) / 2).toBeCloseTo(160e9, -6)
  })

  test('OSU prints the bytes for each other rank: 8 ranks send 8 times as many', async () => {
    // 1 MB for each of 8 ranks are 8 MB: 7/8 · 8 MB / 100 GB/s are 70 µs.
    const text =
      '# OSU MPI-CUDA All-to-All Personalized Exchange Latency Test v7.5\n# Size  Avg Latency(us)\n1000000  70\n'
    const { dispatchEfficiency } = await calibrated(idealCluster(8), [`1x8:${file(text, 'e.txt')}`])
    expect(dispatchEfficiency).toBeCloseTo(1, 9)
  })

  test('fewer ranks than a node has give a latency and no rate', async () => {
    const source = file(
      nccl('sendrecv_perf', node('a', 2), [
        [1e9, 10_005],
        [8, 5],
      ]),
      'f.txt',
    )
    const { links, calibration } = await calibrated(idealCluster(8), [source])
    expect(links.node.latency).toBeCloseTo(5e-6, 8)
    expect(calibration?.map(({ field }) => field)).toEqual(['links.node.latency'])
  })
})

describe('published outputs', () => {
  test('nccl-tests on 1 and 2 nodes of H100: each is met within 7 %, and the slow network is found', async () => {
    const sources = [file(outputs.ncclNode, 'all_reduce_perf.1.txt'), file(outputs.ncclNodes, 'all_reduce_perf.2.txt')]
    const { calibration = [], device } = await calibrated(await loadCluster('h100-64'), sources)
    expect(calibration.map(({ field }) => field)).toEqual(['links.node.rate', 'links.network.rate'])
    for (const { error } of calibration) expect(error).toBeLessThan(0.07)
    const [inside, between] = calibration
    // The largest message has a bus bandwidth of 474 GB/s, and needs at least 1/2 · 8.6 GB/8 · 2 in 104 ms a device.
    expect(inside?.after).toBeGreaterThan(430e9)
    expect(inside?.after).toBeLessThan(474e9)
    expect(between?.after).toBeGreaterThan(60e9)
    expect(between?.after).toBeLessThan(90e9)
    expect(device.constants).toBe('fitted')
  })

  test('rccl-tests, two tests in a log: rows of no bytes are left out', async () => {
    const runs = readCollectives(outputs.rcclNode, 'log', null)
    expect(runs.map(({ kind, samples, ranks }) => [kind, samples.length, ranks])).toEqual([
      ['all-reduce', 7, { nodes: 1, perNode: 8 }],
      ['all-to-all', 5, { nodes: 1, perNode: 8 }],
    ])
    const { calibration = [] } = await calibrated(await loadCluster('h100-8'), [file(outputs.rcclNode, 'rccl.txt')])
    expect(calibration.map(({ field }) => field)).toEqual([
      'links.node.latency',
      'links.node.rate',
      'dispatchEfficiency',
    ])
    // Bus bandwidths of the largest messages: 403 and 322 GB/s.
    expect(calibration[1]?.after).toBeCloseTo(403e9, -10)
    expect(calibration[2]?.after).toBeLessThan(1)
  })

  test('OSU on 2 nodes of 4 GPUs, and between a pair', async () => {
    const cluster = parseCluster({
      extends: 'h200',
      devices: 8,
      devicesPerNode: 4,
      links: { network: { bandwidth: '100 GB/s' } },
    })
    const all = `2x4:${file(outputs.osuAllToAll, 'a2a.txt')}`
    const pair = `2x1:${file(outputs.osuLatency, 'pair.txt')}`
    const { calibration = [], links } = await calibrated(cluster, [pair, all])
    expect(calibration.map(({ field }) => field)).toEqual(['links.network.latency', 'dispatchEfficiency'])
    expect(links.network.latency).toBeGreaterThan(21.8e-6)
    expect(links.network.latency).toBeLessThan(25e-6)
    // With its own latency, half of 8 MiB in 745 µs.
    expect((await calibrated(cluster, [all])).calibration?.every(({ error }) => error < 0.05)).toBe(true)
  })

  test('the bandwidth of a pair counts where a node has two devices, and nowhere else', async () => {
    const source = `1x2:${file(outputs.osuBandwidth, 'bw.txt')}`
    const { links } = await calibrated(await loadCluster('a100-2'), [source])
    expect(links.node.bandwidth * links.node.efficiency).toBeCloseTo(279_577.3e6, -3)
    await expect(calibrated(await loadCluster('a100-8'), [source])).rejects.toThrow(
      /bw\.txt: it sets no constant of a100-8/,
    )
  })
})

describe('what cannot be read is refused', () => {
  const good = nccl('all_reduce_perf', node('a'), [[1e9, 4403]])
  test.each<[string, string | Uint8Array, RegExp]>([
    ['an empty file', '\n', /the file is empty/],
    ['a file of bytes', new Uint8Array([0, 1, 2, 255, 254]), /output\.txt/],
    ['another tool', 'iperf3: 9.4 Gbits/sec', /expected the output of nccl-tests or of the OSU/],
    ['no rows', nccl('all_reduce_perf', node('a'), []), /no row with a size and a time/],
    ['a test without a name', good.replace(/.*starting.*\n/, ''), /does not name its test/],
    ['no out-of-place times', good.replace('4403', 'N/A'), /no out-of-place time: N\/A/],
    ['wrong results', good.replace('0.00 0 1.00', '0.00 7 1.00'), /7 wrong results/],
    ['no ranks', good.replace(/#\s+Rank.*\n/g, ''), /does not list its ranks/],
    ['some ranks', good.replace(/#\s+Rank {2}3.*\n/, ''), /lists only some of its 8 ranks/],
    ['ranks without MPI', good.replace('Rank  7', 'Rank  0'), /rank 0 twice/],
    ['uneven nodes', nccl('all_reduce_perf', [...node('a'), 'b'], [[1e9, 1]]), /nodes have 8 and 1 ranks/],
    [
      'more ranks than a node has',
      nccl('all_reduce_perf', node('a', 16), [[1e9, 1]]),
      /16 ranks a node, but h100-16 has/,
    ],
    [
      'hosts that may be one node',
      nccl('all_reduce_perf', ['a', 'a', 'b', 'b'], [[1e9, 1]]),
      /--measured 1x4:.* or not, --measured 2x2:/,
    ],
    ['OSU without ranks', outputs.osuAllToAll, /OSU does not print its ranks/],
    ['a table of products', 'm,n,k,dtype,tflops\n1,1,1,bf16,1', /fields of a cluster file: device\.matmul\.efficiency/],
  ])('%s', async (_, text, message) => {
    await expect(calibrated(await loadCluster('h100-16'), [file(text)])).rejects.toThrow(message)
  })

  test.each([
    ['no such file', '/nowhere/at/all.txt', /no such file/],
    ['a single rank', '1x1:a.txt', /expected at least 2/],
  ])('%s', async (_, source, message) => {
    await expect(calibrated(await loadCluster('h100-8'), [source])).rejects.toThrow(message)
  })

  test.each([
    ['a test of another kind', '# OSU MPI Bi-Directional Bandwidth Test v5.6.2\n1 2', /Bi-Directional Bandwidth Test/],
    [
      'a barrier, which has no sizes',
      '# OSU MPI Barrier Latency Test v5.8\n# Avg Latency(us)\n 12.57',
      /OSU's Barrier Latency Test/,
    ],
    ['a pair of more than two', outputs.osuLatency, /8 ranks \(expected 2\)/],
  ])('OSU: %s', async (_, text, message) => {
    await expect(calibrated(await loadCluster('h100-8'), [`1x8:${file(text)}`])).rejects.toThrow(message)
  })
})

test('a constant as text has its unit, its change, and its files', () => {
  expect(
    calibratedText({
      field: 'links.node.rate',
      before: 369e9,
      after: 474e9,
      files: ['a.txt', 'b.txt'],
      times: 6,
      error: 0.034,
    }),
  ).toBe('links.node.rate 369 GB/s to 474 GB/s (+28 %) by a.txt, b.txt; 6 times met within 3 % (median)')
})
