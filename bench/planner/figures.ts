/**
 * Draws the pictures of docs/planner.md and docs/launch.md from the published measurements and from the layout of an
 * example. Run it after either has changed; a test compares the committed files with it.
 *
 *   npx tsx bench/planner/figures.ts
 */
import { writeFile } from 'node:fs/promises'
import { Command } from 'commander'
import { runCommand } from '../support/command.ts'
import { fileIn } from '../support/results.ts'
import { docsPictures } from './figures/pictures.ts'

await runCommand(
  new Command('npx tsx bench/planner/figures.ts')
    .description('Draws docs/pictures/{planner,launch}.svg and their narrow forms.')
    .action(async () => {
      for (const { file, svg } of docsPictures()) {
        await writeFile(fileIn(file), svg)
        process.stdout.write(`  ${file}\n`)
      }
    }),
)
