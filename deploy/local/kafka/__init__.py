"""Apache Kafka for the local stack and the tests: one KRaft node on loopback, Java 17, jars from Maven.

python -m deploy.local.kafka --data-dir DIR [--port N]      # a broker for tests; ends with Ctrl-C or its parent
python -m deploy.local.kafka --check                        # exit 0 when it could start, else 3 and the reason
"""

from deploy.local.kafka.archive import ensure_archive
from deploy.local.kafka.broker import Kafka, cluster_id
from deploy.local.kafka.jars import ensure_jars, find_java

__all__ = ["Kafka", "cluster_id", "ensure_archive", "ensure_jars", "find_java"]
