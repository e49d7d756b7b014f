/** Downloads from an archive made up for the test: three scripts in the place of apt-get, apt-cache and dpkg-deb. */
import { chmodSync, existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { delimiter, join } from 'node:path'
import { afterEach, expect, test, vi } from 'vitest'
import { RunError, UsageError } from '../../src/core/errors.ts'
import { temporaryFolder } from '../../src/node/data/testing/temporary-folder.ts'
import { type CorpusOptions, createCorpus } from './create.ts'
import { manifestFile, readManifest } from './manifest.ts'
import { allBut, extractedPackage, prose } from './testing/packages.ts'

const temporary = temporaryFolder()
afterEach(() => vi.unstubAllEnvs())

/** Versions of the archive, in the order of apt-cache madison: the newest first. */
const archive = { 'git-doc': ['1:2.5-1', '1:2.4-1'], 'python3.12-doc': ['3.12-1'], 'python3.13-doc': ['3.13-1'] }

/** The scripts find a package, as dpkg-deb extracts it, at `<folder>/<version>/<name>`. */
const scripts = {
  'apt-cache': `command=$1; shift
if [ "$command" = pkgnames ]; then sed 's/ .*//' "$ARCHIVE/list" | sort -u | grep "^$1"; exit; fi
for name; do grep "^$name " "$ARCHIVE/list" | while read -r name version; do echo " $name | $version | http://archive main amd64 Packages"; done; echo " $name | 0.9-1 | http://archive main Sources"; done`,
  'apt-get': `name=\${2%%=*}
version=\${2#*=}
[ "$version" != "$2" ] || version=$(grep -m1 "^$name " "$ARCHIVE/list" | cut -d' ' -f2)
echo "$ARCHIVE/$version/$name" > "\${name}_any.deb"`,
  'dpkg-deb': `cp -R "$(cat "$2")" "$3"`,
}

function useArchive(): void {
  const [folder, programs] = [temporary.make(), temporary.make()]
  const list = Object.entries(archive).flatMap(([name, versions]) =>
    versions.map((version) => {
      extractedPackage(join(folder, version), name, { [`usr/share/doc/${name}/a.txt`]: prose(version) }, version)
      const html = `<body>${prose(version).replaceAll('\n\n', '<p>')}</body>`
      extractedPackage(
        join(folder, version),
        name,
        { [`usr/share/doc/${name.slice(0, -4)}/html/x.html`]: html },
        version,
      )
      return `${name} ${version}\n`
    }),
  )
  writeFileSync(join(folder, 'list'), list.join(''))
  for (const [name, script] of Object.entries(scripts)) {
    writeFileSync(join(programs, name), `#!/bin/sh\n${script}\n`)
    chmodSync(join(programs, name), 0o755)
  }
  vi.stubEnv('ARCHIVE', folder)
  vi.stubEnv('PATH', `${programs}${delimiter}${process.env.PATH}`)
}

const without = allBut('manuals', ['git-doc', 'python*-doc'])
const make = (out: string, options: CorpusOptions = {}): ReturnType<typeof createCorpus> =>
  createCorpus('manuals', out, { download: true, without, ...options })
const versionsIn = (folder: string) => readManifest(folder)?.packages.map(({ name, version }) => `${name} ${version}`)

// The scripts need a POSIX shell.
test.skipIf(process.platform === 'win32')(
  'downloads the newest packages, or those of an earlier corpus, which give its bytes again',
  async () => {
    useArchive()
    const folder = temporary.make()
    await make(join(folder, 'newest'))
    expect(versionsIn(join(folder, 'newest'))).toEqual(['python3.13-doc 3.13-1', 'git-doc 1:2.5-1'])

    const versions = join(folder, 'versions.json')
    writeFileSync(
      versions,
      JSON.stringify({
        packages: [
          { name: 'git-doc', version: '1:2.4-1' },
          { name: 'python3.12-doc', version: '3.12-1' },
        ],
      }),
    )
    await make(join(folder, 'old'), { versions })
    expect(versionsIn(join(folder, 'old'))).toEqual(['python3.12-doc 3.12-1', 'git-doc 1:2.4-1'])
    expect(readFileSync(join(folder, 'old', 'git.jsonl'), 'utf8')).toContain('of 1:2.4-1 says')

    const manifest = join(folder, 'old', manifestFile)
    const again = await make(join(folder, 'again'), { versions: manifest })
    expect(again.expectedSha256).toBe(again.manifest.sha256)
    for (const file of [manifestFile, 'git.jsonl', 'python.jsonl'])
      expect(readFileSync(join(folder, 'again', file))).toEqual(readFileSync(join(folder, 'old', file)))
    const same = await make(join(folder, 'again'), { versions: manifest })
    expect(same).toMatchObject({ isUnchanged: true, expectedSha256: again.manifest.sha256 })
    await expect(make(join(folder, 'newest'), { versions: manifest })).rejects.toThrow('holds the corpus manuals, from')
    await expect(make(join(folder, 'newest'))).rejects.toThrow('holds the corpus manuals (expected a new folder')
  },
)

test.skipIf(process.platform === 'win32')('refuses versions that cannot be had, and writes nothing', async () => {
  useArchive()
  const folder = temporary.make()
  const out = join(folder, 'corpus')
  const refused = async (content: string, kind: new (message: string) => Error, message: RegExp): Promise<void> => {
    const versions = join(folder, 'versions.json')
    writeFileSync(versions, content)
    const error = await make(out, { versions }).catch((thrown: unknown) => thrown)
    expect(error).toBeInstanceOf(kind)
    expect((error as Error).message).toMatch(message)
    expect(existsSync(out)).toBe(false)
  }
  const listed = (...packages: [name: string, version: string][]): string =>
    JSON.stringify({ packages: packages.map(([name, version]) => ({ name, version })) })
  await refused('', UsageError, /invalid versions: cannot read ".*": it is empty\. The \.corpus\.json in the folder/)
  await refused('\0\x01', UsageError, /it is not JSON/)
  await refused('{"packages":[{"name":"git-doc"}]}', UsageError, /it has no packages with their versions/)
  await refused(listed(['git-doc', '1:2.5-1']), UsageError, /has no version of python\*-doc; .*without='python\*-doc'/)
  await refused(
    listed(['git-doc', ''], ['perl-doc', '5']),
    UsageError,
    /no version of python\*-doc and git-doc; leave out/,
  )
  // The archive has version 0.9-1 as a source package only.
  await refused(
    listed(['git-doc', '0.9-1'], ['python3.13-doc', '3.13-2']),
    RunError,
    /^apt does not have python3\.13-doc=3\.13-2 and git-doc=0\.9-1\. .*snapshot\.debian\.org/,
  )
  mkdirSync(join(folder, 'a folder'))
  await expect(make(out, { versions: join(folder, 'a folder') })).rejects.toThrow('it is a folder (expected a file)')
  await expect(make(out, { versions: join(folder, 'none') })).rejects.toThrow(/ENOENT/)
  await expect(createCorpus('manuals', out, { versions: 'x' })).rejects.toThrow('versions needs download')
  expect(existsSync(out)).toBe(false)
})
