/**
 * Clusters by name: `v100-480` is 480 V100s. Peaks, memory and bandwidths come from the vendors' data sheets. Power is
 * the largest power of the vendor's server over its devices: DGX-1 3.5 kW, DGX A100 6.5 kW, DGX H100 and H200 10.2 kW,
 * DGX B200 14.3 kW, 8 devices each; GB200 NVL72 120 kW, 72 devices.
 * Efficiencies are fitted: see docs/planner.md.
 */
import type { ClusterInput } from './cluster.ts'
import { fitted } from './fitted.ts'

type Cluster = Omit<ClusterInput, 'devices' | 'name'>

interface Family {
  readonly description: string
  readonly cluster: Cluster
}

const v100 = {
  devicesPerNode: 8,
  device: {
    name: 'V100-SXM2-32GB',
    power: '440 W',
    designPower: '300 W',
    memory: '32 GiB',
    bandwidth: '900 GB/s',
    peak: { float32: '15.7 TFLOP/s', float16: '125 TFLOP/s' },
    matmul: { efficiency: fitted.v100 },
    constants: 'fitted',
  },
  links: {
    node: { bandwidth: '150 GB/s', latency: '4 us', efficiency: 0.78 },
    network: { bandwidth: '50 GB/s', latency: '8 us', efficiency: 0.85 },
    host: { bandwidth: '16 GB/s' },
  },
} satisfies Cluster

const a100 = {
  devicesPerNode: 8,
  device: {
    name: 'A100-SXM4-80GB',
    power: '812 W',
    designPower: '400 W',
    memory: '80 GiB',
    bandwidth: '2000 GB/s',
    peak: { float32: '19.5 TFLOP/s', tf32: '156 TFLOP/s', float16: '312 TFLOP/s', bfloat16: '312 TFLOP/s' },
    matmul: { efficiency: fitted.a100 },
    constants: 'fitted',
  },
  links: {
    node: { bandwidth: '300 GB/s', latency: '4 us', efficiency: 0.78 },
    network: { bandwidth: '200 GB/s', latency: '6 us', efficiency: 0.85 },
    host: { bandwidth: '32 GB/s' },
  },
} satisfies Cluster

const h100 = {
  devicesPerNode: 8,
  device: {
    name: 'H100-SXM5-80GB',
    power: '1275 W',
    designPower: '700 W',
    memory: '80 GiB',
    bandwidth: '3350 GB/s',
    peak: {
      float32: '67 TFLOP/s',
      tf32: '494 TFLOP/s',
      float16: '989 TFLOP/s',
      bfloat16: '989 TFLOP/s',
      float8: '1979 TFLOP/s',
    },
    matmul: { efficiency: fitted.h100 },
    // FlashAttention-2 reaches 35 % on H100 (Shah et al. 2024, FlashAttention-3, abstract).
    torchAttentionEfficiency: 0.35,
    constants: 'fitted',
  },
  links: {
    node: { bandwidth: '450 GB/s', latency: '4 us', efficiency: 0.82 },
    network: { bandwidth: '400 GB/s', latency: '6 us', efficiency: 0.85 },
    host: { bandwidth: '64 GB/s' },
  },
} satisfies Cluster

const h200 = {
  ...h100,
  device: { ...h100.device, name: 'H200-SXM-141GB', memory: '141 GB', bandwidth: '4800 GB/s' },
} satisfies Cluster

// DeepSeek-V3, section 3.2.2, gives 160 GB/s for NVLink, which is 0.8 of 200.
const h800 = {
  ...h100,
  device: { ...h100.device, name: 'H800-SXM-80GB' },
  links: { ...h100.links, node: { bandwidth: '200 GB/s', latency: '4 us', efficiency: 0.8 } },
} satisfies Cluster

const b200 = {
  devicesPerNode: 8,
  device: {
    name: 'B200-SXM-180GB',
    power: '1790 W',
    designPower: '1000 W',
    memory: '180 GB',
    bandwidth: '7700 GB/s',
    peak: {
      float32: '75 TFLOP/s',
      tf32: '1100 TFLOP/s',
      float16: '2250 TFLOP/s',
      bfloat16: '2250 TFLOP/s',
      float8: '4500 TFLOP/s',
    },
    matmul: { efficiency: fitted.blackwell },
    constants: 'fitted',
  },
  links: {
    node: { bandwidth: '900 GB/s', latency: '4 us', efficiency: 0.82 },
    network: { bandwidth: '400 GB/s', latency: '6 us', efficiency: 0.85 },
    host: { bandwidth: '64 GB/s' },
  },
} satisfies Cluster

const gb200 = {
  devicesPerNode: 72,
  device: {
    ...b200.device,
    name: 'GB200-186GB',
    power: '1667 W',
    designPower: '1200 W',
    memory: '186 GB',
    bandwidth: '8000 GB/s',
    peak: {
      float32: '80 TFLOP/s',
      tf32: '1225 TFLOP/s',
      float16: '2450 TFLOP/s',
      bfloat16: '2450 TFLOP/s',
      float8: '4900 TFLOP/s',
    },
  },
  links: {
    ...b200.links,
    network: { bandwidth: '3600 GB/s', latency: '6 us', efficiency: 0.85 },
    host: { bandwidth: '200 GB/s' },
  },
} satisfies Cluster

/**
 * A "node" of a torus is a cube of 4 × 4 × 4 chips. A chip has six links, which all count. (An all-to-all reaches less:
 * a row takes a hop along each axis on average.) A cube has 96 links to others.
 */
const torus = (name: string, linkGigabytes: number, device: Omit<Cluster['device'], 'name'>) =>
  ({
    devicesPerNode: 64,
    device: { name, matmul: { efficiency: fitted.tpu }, constants: 'fitted', ...device },
    links: {
      node: { bandwidth: `${6 * linkGigabytes} GB/s`, latency: '1 us' },
      network: { bandwidth: `${96 * linkGigabytes} GB/s`, latency: '4 us' },
    },
  }) satisfies Cluster

const tpuV4 = torus('TPU v4', 45, {
  memory: '32 GiB',
  bandwidth: '1200 GB/s',
  peak: { float32: '34 TFLOP/s', bfloat16: '275 TFLOP/s' },
})

const tpuV5p = torus('TPU v5p', 90, {
  memory: '95 GiB',
  bandwidth: '2765 GB/s',
  peak: { float32: '57 TFLOP/s', bfloat16: '459 TFLOP/s' },
})

// A pod is a torus of 16 × 16 chips with four links each; pods are joined by the hosts' network.
const tpuV5e = {
  devicesPerNode: 256,
  device: {
    name: 'TPU v5e',
    memory: '16 GiB',
    bandwidth: '819 GB/s',
    peak: { float32: '24 TFLOP/s', bfloat16: '197 TFLOP/s' },
    matmul: { efficiency: fitted.tpu },
    constants: 'fitted',
  },
  links: {
    node: { bandwidth: '180 GB/s', latency: '1 us' },
    network: { bandwidth: '800 GB/s', latency: '10 us' },
  },
} satisfies Cluster

const tpuV3 = {
  devicesPerNode: 8,
  device: {
    name: 'TPU v3 core',
    memory: '16 GiB',
    bandwidth: '450 GB/s',
    // The hardware multiplies bfloat16; a float32 product takes several products of bfloat16.
    peak: { float32: '10 TFLOP/s', bfloat16: '61.5 TFLOP/s' },
    matmul: { efficiency: fitted.tpu },
    constants: 'unfitted',
  },
  links: {
    node: { bandwidth: '82 GB/s', latency: '2 us' },
    network: { bandwidth: '656 GB/s', latency: '4 us' },
  },
} satisfies Cluster

export const clusterFamilies: Readonly<Record<string, Family>> = {
  v100: { description: 'V100-SXM2-32GB, 8 a node, NVLink 2, four 100 Gb/s ports a node', cluster: v100 },
  'v100-16gb': {
    description: 'as v100, with 16 GB',
    cluster: { ...v100, device: { ...v100.device, name: 'V100-SXM2-16GB', memory: '16 GiB' } },
  },
  a100: { description: 'A100-SXM4-80GB, 8 a node, NVLink 3, eight 200 Gb/s ports a node', cluster: a100 },
  'a100-40gb': {
    description: 'as a100, with 40 GB',
    cluster: {
      ...a100,
      device: { ...a100.device, name: 'A100-SXM4-40GB', memory: '40 GiB', bandwidth: '1555 GB/s' },
    },
  },
  h100: { description: 'H100-SXM5-80GB, 8 a node, NVLink 4, eight 400 Gb/s ports a node', cluster: h100 },
  h200: { description: 'as h100, with 141 GB at 4.8 TB/s', cluster: h200 },
  h800: { description: 'as h100, with NVLink at 200 GB/s', cluster: h800 },
  b200: { description: 'B200, 180 GB, 8 a node, NVLink 5, eight 400 Gb/s ports a node', cluster: b200 },
  gb200: { description: 'GB200 NVL72, 186 GB, 72 devices in an NVLink domain, a 400 Gb/s port each', cluster: gb200 },
  'tpu-v4': { description: 'TPU v4 chips, 32 GB, in a 3D torus', cluster: tpuV4 },
  'tpu-v5p': { description: 'TPU v5p chips, 95 GB, in a 3D torus', cluster: tpuV5p },
  'tpu-v5e': { description: 'TPU v5e chips, 16 GB, in a 2D torus of 256', cluster: tpuV5e },
  'tpu-v3': { description: 'TPU v3 cores, 16 GB each, 8 a board, in a torus', cluster: tpuV3 },
}
