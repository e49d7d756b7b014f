import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { clusterSchema } from '../inputs/cluster.ts'
import { clusterFamilies } from '../inputs/clusters.ts'
import { clusterOf } from '../inputs/load-plan.ts'
import { idealCluster, idealInput } from '../testing/cases.ts'
import {
  allReduceSeconds,
  allToAllSeconds,
  copyByCopy,
  type Dispatch,
  groupOf,
  networkShareOf,
  reduceScatterSeconds,
  ringSeconds,
  sendSeconds,
} from './network.ts'

// A device sends 100 GB/s inside its node of eight, and has 50 GB/s of its node's 400 GB/s network.
const cluster = idealCluster(64)
const GB = 1e9

describe('large all-reduces of published measurements take the predicted time', () => {
  // NCCL tests, out of place. Sources: H100 with eight ports of 200 Gb/s (lessizzmore/create-a3mega-ztan-fork), and two
  // racks of 64 GB300, each with a port of 800 Gb/s (Oracle's guide for GB300).
  test.each([
    ['h100', 8, '200 GB/s', 16, 8_589_934_592, 47_535e-6, 1.1],
    ['gb200', 64, '6400 GB/s', 128, 17_179_869_184, 46_170e-6, 1.02],
  ])(
    '%s, %d a node with a network of %s, %d ranks',
    (family, devicesPerNode, bandwidth, ranks, size, seconds, factor) => {
      const { links } = clusterFamilies[family]?.cluster ?? expect.unreachable()
      const measured = clusterOf(family, ranks, {
        devicesPerNode,
        links: { ...links, network: { ...links.network, bandwidth } },
      })
      const ratio = allReduceSeconds(measured, groupOf(measured, ranks, 1), size) / seconds
      expect(ratio).toBeGreaterThan(1 / factor)
      expect(ratio).toBeLessThan(factor)
    },
  )
})

describe('a group', () => {
  test.each([
    // Adjacent ranks fill a node first; with a stride, fewer fit.
    [8, 1, 8],
    [4, 1, 4],
    [64, 1, 8],
    [8, 2, 4],
    [2, 4, 2],
    [8, 8, 1],
    [4, 16, 1],
    // Groups that straddle nodes have the greatest common divisor: of six adjacent ranks, two may be on another node.
    [6, 1, 2],
    [12, 1, 4],
    [3, 1, 1],
    [6, 2, 2],
  ])('of %d ranks, %d devices apart, has %d on a node', (size, stride, perNode) => {
    expect(groupOf(cluster, size, stride)).toEqual({ size, perNode })
  })
})

describe('collectives without latency', () => {
  test('a ring all-reduce in a node passes 2·(n − 1)/n of the bytes', () => {
    for (const n of [2, 4, 8])
      expect(allReduceSeconds(cluster, groupOf(cluster, n, 1), GB)).toBeCloseTo(((2 * (n - 1)) / n) * 0.01, 12)
  })

  test('a ring all-reduce between nodes of one rank each passes 2·(n − 1)/n of the bytes at the bandwidth of a device', () => {
    expect(allReduceSeconds(cluster, groupOf(cluster, 4, 8), GB)).toBeCloseTo(2 * (3 / 4) * 0.02, 12)
  })

  test('a hierarchical all-reduce takes the time inside the node, or of an eighth of the bytes between nodes', () => {
    const oversubscribed = (oversubscription: number) => {
      const { network, ...links } = cluster.links
      return { ...cluster, links: { ...links, network: { ...network, oversubscription } } }
    }
    for (const [over, slower] of [
      [1, 0.01],
      [2, 0.01],
      [8, 8 * (0.02 / 8)],
      [16, 16 * (0.02 / 8)],
    ] as const)
      expect(allReduceSeconds(oversubscribed(over), groupOf(cluster, 64, 1), GB)).toBeCloseTo(2 * (7 / 8) * slower, 12)
  })

  test('an all-reduce is a reduce-scatter and an all-gather', () => {
    const group = groupOf(cluster, 64, 1)
    expect(allReduceSeconds(cluster, group, GB)).toBeCloseTo(2 * reduceScatterSeconds(cluster, group, GB), 12)
  })

  test('an all-to-all inside a node sends all but its own part', () => {
    expect(allToAllSeconds(cluster, groupOf(cluster, 8, 1), GB)).toBeCloseTo((7 / 8) * 0.01, 12)
  })

  test('an all-to-all between nodes takes the time of the bytes that leave the node', () => {
    expect(allToAllSeconds(cluster, groupOf(cluster, 64, 1), GB)).toBeCloseTo((56 / 64) * 0.02, 12)
  })

  test('a group of one rank sends nothing', () => {
    const alone = groupOf(cluster, 1, 1)
    expect(allReduceSeconds(cluster, alone, GB)).toBe(0)
    expect(allToAllSeconds(cluster, alone, GB)).toBe(0)
  })

  test('stages that share a node send inside it; a larger pipeline has a boundary between nodes', () => {
    expect(sendSeconds(idealCluster(8), 2, GB)).toBeCloseTo(0.01, 12)
    expect(sendSeconds(cluster, 8, GB)).toBeCloseTo(0.01, 12)
    expect(sendSeconds(cluster, 16, GB)).toBeCloseTo(0.02, 12)
  })

  test('oversubscription divides the bandwidth between nodes', () => {
    const input = idealInput(64)
    const halved = clusterSchema.parse({
      ...input,
      links: { ...input.links, network: { ...input.links.network, oversubscription: 2 } },
    })
    expect(sendSeconds(halved, 64, GB)).toBeCloseTo(0.04, 12)
    expect(sendSeconds(halved, 8, GB)).toBeCloseTo(0.01, 12)
  })

  test('bits are not bytes: a 400 Gb/s port is 50 GB/s', () => {
    const input = idealInput(16)
    const one = clusterSchema.parse({
      ...input,
      devicesPerNode: 1,
      links: { ...input.links, network: { bandwidth: '400 Gb/s', latency: '0 s', efficiency: 1 } },
    })
    expect(sendSeconds(one, 2, GB)).toBeCloseTo(0.02, 12)
  })
})

test('every rank of a group that straddles nodes waits for the network', () => {
  // Groups have six adjacent ranks on nodes of eight. The second group has two ranks on the first node and four on the
  // next, and these two ranks send four of six parts to the other node.
  const straddling = allToAllSeconds(idealCluster(24), groupOf(idealCluster(24), 6, 1), GB)
  expect(straddling).toBeCloseTo((4 / 6) * 0.02, 12)
})

test('a cluster smaller than a node does not use the network', () => {
  for (const devices of [3, 5, 6, 7]) {
    const small = idealCluster(devices)
    expect(groupOf(small, devices, 1)).toEqual({ size: devices, perNode: devices })
  }
})

test('more bytes, less bandwidth and more latency are never faster', () => {
  const collective = fc.constantFrom(allReduceSeconds, reduceScatterSeconds, allToAllSeconds)
  const share = fc.double({ min: 0.1, max: 1, noNaN: true })
  fc.assert(
    fc.property(
      collective,
      fc.constantFrom(2, 4, 8, 16, 64),
      fc.constantFrom(1, 2, 4, 8),
      fc.integer({ min: 1, max: 1e9 }),
      share,
      fc.constantFrom('node', 'network'),
      fc.integer({ min: 0, max: 50 }),
      (seconds, size, stride, bytes, slower, which, microseconds) => {
        const group = groupOf(cluster, size, stride)
        const fast = seconds(cluster, group, bytes)
        const link = cluster.links[which as 'node' | 'network']
        const changed = {
          ...cluster,
          links: {
            ...cluster.links,
            [which as string]: { ...link, bandwidth: link.bandwidth * slower, latency: microseconds * 1e-6 },
          },
        }
        expect(seconds(changed, group, bytes)).toBeGreaterThanOrEqual(fast)
        expect(seconds(cluster, group, 2 * bytes)).toBeGreaterThanOrEqual(fast)
      },
    ),
  )
})

describe('rows for the experts of a token', () => {
  const once = { copies: 8, oncePerNode: true, nodeLimit: Number.POSITIVE_INFINITY }

  test('cross the network for every expert elsewhere, if each copy travels by itself', () => {
    expect(networkShareOf(4, copyByCopy)).toBe(3 / 4)
    expect(networkShareOf(4, { ...copyByCopy, copies: 8 })).toBe(3 / 4)
  })

  test('cross it once for each node that has some of them, on average as often as if choices are drawn', () => {
    const nodes = 8
    let state = 1
    const random = () => {
      state = (state * 16_807) % 2_147_483_647
      return state / 2_147_483_647
    }
    let crossed = 0
    const draws = 20_000
    for (let draw = 0; draw < draws; draw++) {
      const reached = new Set(Array.from({ length: 8 }, () => Math.floor(random() * nodes)))
      crossed += [...reached].filter((node) => node !== 0).length
    }
    expect(networkShareOf(nodes, once) * 8).toBeCloseTo(crossed / draws, 1)
  })

  test('go to the limit of nodes at most (DeepSeek-V3: 4 of 8 nodes, 3.5 of them others)', () => {
    expect(networkShareOf(8, { ...once, nodeLimit: 4 })).toBeCloseTo((4 * 7) / 8 / 8, 12)
  })

  test('take less time once for a node than copy by copy, and no more with a limit', () => {
    const cluster = idealCluster(64)
    const seconds = (dispatch: Dispatch) => allToAllSeconds(cluster, groupOf(cluster, 64, 1), 1e9, dispatch)
    expect(seconds(once)).toBeLessThan(seconds(copyByCopy))
    expect(seconds({ ...once, nodeLimit: 2 })).toBeLessThanOrEqual(seconds(once))
  })
})

describe('keys and values of a context-parallel group', () => {
  test('pass through the node, or through one link between nodes', () => {
    const inside = idealCluster(8)
    expect(ringSeconds(inside, groupOf(inside, 4, 1), 1e9)).toBeCloseTo(0.01, 12)
    const across = idealCluster(16)
    // One of the eight ranks of a node sends to the next node, over all of the node's ports.
    expect(ringSeconds(across, groupOf(across, 16, 1), 1e9)).toBeCloseTo(1e9 / 400e9, 12)
    expect(ringSeconds(inside, groupOf(inside, 1, 1), 1e9)).toBe(0)
  })
})
