/**
 * Makes a fault of the GPU in mid-run; NODE_OPTIONS preloads this file into `choir`. The fault comes at the first
 * command after the file CHOIR_GPU_FAULT_AFTER exists. CHOIR_GPU_FAULT is `memory` (an allocation of 128 GiB, which
 * drivers refuse) or `command` (an invalid command).
 */
import { existsSync } from 'node:fs'
import { globals } from 'webgpu'

const { CHOIR_GPU_FAULT: kind, CHOIR_GPU_FAULT_AFTER: file } = process.env
const { prototype } = globals.GPUDevice
const { createCommandEncoder } = prototype
let isDone = false

const faults = {
  memory: (device) => {
    const usage = GPUTextureUsage.COPY_DST
    device.createTexture({ size: [2048, 2048, 2048], dimension: '3d', format: 'rgba32float', usage })
  },
  command: (device) => device.createBuffer({ size: 4, usage: GPUBufferUsage.MAP_READ | GPUBufferUsage.STORAGE }),
}

prototype.createCommandEncoder = function (...args) {
  if (!isDone && existsSync(file)) {
    isDone = true
    faults[kind](this)
  }
  return createCommandEncoder.apply(this, args)
}
