/**
 * The package koffi, which calls C libraries. Its module for this platform is an optional package of its own, so it may
 * be missing where everything else is there.
 */
import { createRequire } from 'node:module'
import type Koffi from 'koffi'
import { RuntimeError } from '../contract/runtime-error.ts'

function load(): typeof Koffi {
  try {
    return createRequire(import.meta.url)('koffi') as typeof Koffi
  } catch (error) {
    const reason = error instanceof Error ? error.message.split('\n')[0] : String(error)
    throw new RuntimeError(
      `no native libraries can be called: ${reason} (install with optional packages: npm install --include=optional)`,
    )
  }
}

export const koffi = load()
