# SPDX-License-Identifier: Apache-2.0
# docker build -t shunt .      docker run --privileged --pid=host --network=host --cgroupns=host shunt run …

FROM node:24-bookworm AS build
RUN apt-get update \
 && apt-get install --no-install-recommends -y clang gcc g++ libc6-dev make python3 pkg-config \
      libbpf-dev libelf-dev zlib1g-dev linux-libc-dev \
 && rm -rf /var/lib/apt/lists/*
WORKDIR /shunt
COPY package.json package-lock.json .npmrc ./
RUN npm ci --ignore-scripts
COPY bpf ./bpf
COPY scripts ./scripts
RUN npm run build:bpf
COPY addon ./addon
RUN npm run build:addon
COPY tsconfig.json ./
COPY src ./src
RUN npm run build:ts && npm prune --omit=dev --ignore-scripts

# The same Debian as above: the addon links its libbpf dynamically.
FROM node:24-bookworm-slim
RUN apt-get update \
 && apt-get install --no-install-recommends -y libbpf1 libelf1 zlib1g nftables iptables iproute2 \
 && rm -rf /var/lib/apt/lists/*
WORKDIR /shunt
COPY --from=build /shunt/package.json ./
COPY --from=build /shunt/node_modules ./node_modules
COPY --from=build /shunt/dist ./dist
COPY --from=build /shunt/bpf/build ./bpf/build
COPY --from=build /shunt/addon/build/Release ./addon/build/Release
COPY LICENSE ./
COPY bpf/LICENSE ./bpf/LICENSE
ENTRYPOINT ["node", "/shunt/dist/main.js"]
CMD ["--help"]
