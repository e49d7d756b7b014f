/** Finds and starts the Chromium of this machine, for tests and benchmarks of the dashboard. It is never downloaded. */
import { accessSync, constants } from 'node:fs'
import { delimiter, join } from 'node:path'
import { type Browser, chromium } from 'playwright-core'

/** Path of Chromium: from `CHOIR_CHROMIUM`, by a usual name on the path, or where macOS and Windows install it. */
export function findChromium(env: NodeJS.ProcessEnv = process.env): string | undefined {
  const names = ['chromium', 'chromium-browser', 'google-chrome', 'google-chrome-stable', 'chrome.exe', 'msedge.exe']
  const onPath = (env.PATH ?? '').split(delimiter).flatMap((folder) => names.map((name) => join(folder, name)))
  const installed = [
    '/Applications/Chromium.app/Contents/MacOS/Chromium',
    '/Applications/Google Chrome.app/Contents/MacOS/Google Chrome',
    ...[env.PROGRAMFILES, env['PROGRAMFILES(X86)']].flatMap((folder) =>
      folder === undefined ? [] : [join(folder, 'Google/Chrome/Application/chrome.exe')],
    ),
  ]
  return env.CHOIR_CHROMIUM ?? [...onPath, ...installed].find(isExecutable)
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK)
    return true
  } catch {
    return false
  }
}

/** Starts Chromium headless and without its sandbox, which needs privileges that containers rarely have. */
export const openChromium = (executablePath: string): Promise<Browser> =>
  chromium.launch({ executablePath, args: ['--no-sandbox', '--enable-precise-memory-info'] })

/**
 * Starts Chromium headless with WebGPU by SwiftShader, which computes on the processor. SwiftShader takes longer to
 * compile the zeroing of workgroup memory than all the rest of a kernel; no kernel reads such memory before it writes it.
 */
export const openChromiumWithGpu = (executablePath: string): Promise<Browser> =>
  chromium.launch({
    executablePath,
    args: [
      '--no-sandbox',
      '--enable-unsafe-webgpu',
      '--use-webgpu-adapter=swiftshader',
      '--disable-gpu-sandbox',
      '--enable-dawn-features=disable_workgroup_init',
    ],
  })
