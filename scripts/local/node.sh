# Sourced by scripts: installs what is missing and puts the project's own Node first in PATH.
# Needs a POSIX shell, npm, and any Node from 20 on to run npm.
root=$(cd "$(dirname "$0")/${depth:-..}" && pwd)

command -v npm >/dev/null 2>&1 || { echo "fairlead: Cannot install: npm is not in PATH (install Node 20 or newer)" >&2; exit 1; }
if [ ! -d "$root/node_modules" ] || [ "$root/package-lock.json" -nt "$root/node_modules/.package-lock.json" ]; then
  echo "Installing packages (npm ci)…" >&2
  (cd "$root" && npm ci --loglevel=error --no-audit --no-fund >&2) || { echo "fairlead: Cannot install: npm ci failed" >&2; exit 1; }
fi
PATH="$root/node_modules/.bin:$PATH"
export PATH
# The Node that comes as a package; elsewhere the machine's own must be new enough to run TypeScript.
node -e 'const [major, minor] = process.versions.node.split(".").map(Number); process.exit(major > 22 || (major === 22 && minor >= 18) ? 0 : 1)' || {
  echo "fairlead: Cannot start: Node $(node -v) is too old and no packaged Node 24 exists for $(uname -sm); install Node 24" >&2
  exit 1
}
export WRANGLER_SEND_METRICS=false
