/** An nginx configuration with one worker in the process itself, nothing written but to `folder`, and connections that never get old. */
export function nginxConfig({ folder, http }: { folder: string; http: string }): string {
  const temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"].map((name) => `${name}_temp_path ${folder}/${name};`).join(" ");
  return `daemon off;
master_process off;
worker_processes 1;
pid ${folder}/nginx.pid;
error_log ${folder}/error.log warn;
events { worker_connections 4096; }
http {
  access_log off;
  ${temporary}
  keepalive_requests 1000000000;
  keepalive_timeout 600s;
  tcp_nodelay on;
  ${http}
}
`;
}
