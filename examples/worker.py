import json, os, pika
channel = pika.BlockingConnection(pika.URLParameters(os.environ["AMQP_URL"])).channel()
channel.queue_declare("pubbot.worker.py", durable=True, arguments={"x-queue-type": "quorum"})
channel.queue_bind("pubbot.worker.py", "pubbot.events", "chat.*.*.chat")
def said(channel, method, event, body):
    line = json.loads(body)
    if line["content"] == "!py" and not line.get("replayed"):  # said while the bot was away: too late
        reply = {"channel": line.get("status", "") + line["channel"], "content": f"{line['source']}: hello from Python"}
        properties = pika.BasicProperties(correlation_id=event.message_id, app_id="py", delivery_mode=2)
        channel.basic_publish("", event.reply_to, json.dumps(reply), properties, mandatory=True)
    channel.basic_ack(method.delivery_tag)
channel.basic_qos(prefetch_count=50)
channel.basic_consume("pubbot.worker.py", said)
channel.start_consuming()
